"""`make bench`: this worker against the naive loop, its scripts' own limit, and BullMQ.

    .venv/bin/python -m benchmarks.suite [--rounds N] [--scale N]

BullMQ takes part where npm can install it, Sidekiq where `make bench-peers` has installed it.
--scale multiplies the numbers of orders, in percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks import ceiling, drain, waits
from benchmarks.kit.figures import Report
from benchmarks.kit.recovery import recoveries, recovery_table
from benchmarks.kit.runs import (
    DrainFigures,
    arguments,
    as_json,
    drain_run,
    drain_table,
    drains,
    pickup_table,
    pickups,
)
from benchmarks.kit.subject import Naive, Ours, Subject, Work
from benchmarks.peers.peer import Peer
from benchmarks.peers.peers import PEERS

DEFAULT, BEST = 50, 1000
ORDERS, PICKUPS = 40_000, 120


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print; the figures of all rounds go to suite.json."""
    report = Report("suite")
    told = arguments("suite", given, rounds=3, scale=100)
    peers = [peer for peer in PEERS if peer.is_at_hand()]
    orders = max(2000, ORDERS * told.scale // 100)
    found = {
        "noop": _noop(report, peers, orders, told.rounds),
        "wait": _wait(report, peers, orders, told.rounds),
        "pickup": _pickup(report, peers, told.rounds),
        "recovery": _recovery(report),
    }
    report.save({"orders": orders, **found})


def _noop(report: Report, peers: Sequence[Peer], orders: int, rounds: int) -> dict[str, object]:
    figures = drains(
        {
            **drain.runs(orders, (DEFAULT, BEST)),
            ceiling.NAME: partial(ceiling.ceiling, Work("noop", orders, BEST)),
            **{peer.name: drain_run(peer, Work("noop", _fewer(peer, orders))) for peer in peers},
        },
        rounds,
    )
    report.tell(drain_table("no-op drain", figures, drain.NAIVE))
    report.tell(_of_ceiling(figures))
    return as_json(figures)


def _of_ceiling(figures: dict[str, DrainFigures]) -> str:
    share = figures[drain.label(BEST)].rate.median / figures[ceiling.NAME].rate.median
    return f"{share:.0%} of what Redis can do with the same scripts"


def _wait(report: Report, peers: Sequence[Peer], orders: int, rounds: int) -> dict[str, object]:
    ours = Ours()
    figures = drains(
        {
            ours.name: drain_run(ours, Work("wait", orders // 2, waits.AT_ONCE)),
            **{
                peer.name: drain_run(peer, Work("wait", _fewer(peer, orders // 2), waits.AT_ONCE))
                for peer in peers
            },
        },
        rounds,
    )
    report.tell(drain_table("10 ms of waiting, 100 at once", figures))
    report.tell(waits.of_ideal(figures[ours.name]))
    return as_json(figures)


def _pickup(report: Report, peers: Sequence[Peer], rounds: int) -> dict[str, object]:
    subjects: list[Subject] = [Ours(), Naive(), *peers]
    figures = pickups(subjects, PICKUPS, rounds)
    report.tell(pickup_table(figures))
    return as_json(figures)


def _recovery(report: Report) -> dict[str, float | None]:
    found = recoveries([Ours()])
    report.tell(recovery_table(found))
    return found


def _fewer(peer: Peer, orders: int) -> int:
    """As many as take about as long."""
    return min(peer.many, orders // 3)


if __name__ == "__main__":
    main()
