"""How many no-op orders a second: this worker, and the naive BRPOP loop, in turns.

    .venv/bin/python -m benchmarks.drain [--orders N] [--at-once N,N] [--rounds N]

The worker (or the loop) runs on one core and Redis on another; metrics, statuses and events are
on. The rate is that of orders recorded as fulfilled, from a tenth of the way to nearly the end.
CPU per order is the steadier figure where the machine is noisy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.kit.drain import Drained
from benchmarks.kit.figures import Report
from benchmarks.kit.runs import DURABLE, arguments, as_json, drain_run, drain_table, drains
from benchmarks.kit.subject import Naive, Ours, Work

NAIVE = Naive().name


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print medians, with the least and the most."""
    report = Report("drain")
    told = arguments("drain", given, orders=60_000, at_once="50,1000", rounds=3)
    figures = drains(
        runs(told.orders, [int(each) for each in told.at_once.split(",")]), told.rounds
    )
    report.tell(drain_table("no-op drain", figures, NAIVE))
    report.save({"orders": told.orders, "rows": as_json(figures)})


def runs(orders: int, at_once: Sequence[int]) -> dict[str, Callable[[], Drained]]:
    """This worker with so many at once, the last also on a durable Redis; and the naive loop."""
    best = Work("noop", orders, at_once[-1])
    return {
        **{label(each): drain_run(Ours(), Work("noop", orders, each)) for each in at_once},
        f"{label(at_once[-1])}, appendonly everysec": drain_run(Ours(), best, *DURABLE),
        NAIVE: drain_run(Naive(), Work("noop", orders // 4)),
    }


def label(at_once: int) -> str:
    """The row's name."""
    return f"fulfillment-worker, {at_once} at once"


if __name__ == "__main__":
    main()
