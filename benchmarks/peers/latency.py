"""Latency under load: orders arrive at random, at a share of what each worker can drain.

    .venv/bin/python -m benchmarks.peers.latency [--seconds N] [--rounds N] [--only NAME,NAME]

For handlers of nothing and of 10 ms, at 10, 50 and 80 percent of the worker's own drain in this
run: from the instant at which an order is due to its handler's first line. The worker has one core;
Redis and the producer share the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks.drain import label
from benchmarks.kit.arrivals import arrivals, waits
from benchmarks.kit.figures import Report, quantile, table
from benchmarks.kit.ground import ground
from benchmarks.kit.rounds import in_turns
from benchmarks.kit.runs import arguments, drain_run
from benchmarks.kit.subject import Ours, Subject, Work
from benchmarks.peers.peers import PEERS
from benchmarks.waits import AT_ONCE

_PEERS = "BullMQ,Sidekiq,taskiq"
_SHARES = (0.1, 0.5, 0.8)
_OURS_MANY = 60_000
_DEFAULT = 50


class Load(NamedTuple):
    """What handlers do. drained, arriving: the kinds of work; at_once: None is the peer's best."""

    name: str
    drained: str
    arriving: str
    ours: int
    peers: int | None


LOADS = (
    Load("nothing", "noop", "arrived", _DEFAULT, None),
    Load("10 ms of waiting", "wait", "arrived_wait", AT_ONCE, AT_ONCE),
)


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print; all waits' quantiles go to latency.json."""
    report = Report("latency")
    told = arguments("peers.latency", given, seconds=10, rounds=1, only=_PEERS)
    peers = [peer for peer in PEERS if peer.name in told.only.split(",")]
    found = {load.name: _under(load, peers, told, report) for load in LOADS}
    report.save({"versions": {peer.name: peer.version() for peer in peers}, **found})


def _under(load: Load, peers: Sequence[Any], told: Any, report: Report) -> dict[str, Any]:
    subjects: list[tuple[Subject, int, int | None]] = [(Ours(), _OURS_MANY, load.ours)]
    subjects += [(peer, peer.many, load.peers) for peer in peers]
    drains = in_turns(
        {
            subject.name: drain_run(subject, Work(load.drained, many, at_once))
            for subject, many, at_once in subjects
        },
        told.rounds,
    )
    rates = {name: min(each.rate for each in found) for name, found in drains.items()}
    rows, figures = [], {}
    for share in _SHARES:
        runs = {
            subject.name: _run(
                subject, load.arriving, at_once, share * rates[subject.name], told.seconds
            )
            for subject, _, at_once in subjects
            if subject.name in rates
        }
        for name, found in in_turns(runs, told.rounds).items():
            all_waits = [wait for one in found for wait in one]
            quantiles = [1000 * quantile(all_waits, part) for part in (0.5, 0.99, 0.999)]
            figures[f"{name} at {share:.0%}"] = quantiles
            rows.append(
                [
                    f"{share:.0%}",
                    label(load.ours) if name == Ours().name else name,
                    f"{share * rates[name]:,.0f}",
                    f"{len(all_waits):,}",
                    *[f"{each:.2f}" for each in quantiles],
                ]
            )
    heads = ["of its drain", f"handlers of {load.name}", "orders/s", "orders", "p50 ms", "p99 ms"]
    report.tell(table([*heads, "p99.9 ms"], rows))
    return {"drained": rates, "quantiles": figures}


def _run(
    subject: Subject, kind: str, at_once: int | None, rate: float, seconds: float
) -> Callable[[], list[float]]:
    due = arrivals(rate, seconds, seed=1)

    def run() -> list[float]:
        with ground() as here:
            return waits(subject, here, Work(kind, len(due) + 1, at_once), due)

    return run


if __name__ == "__main__":
    main()
