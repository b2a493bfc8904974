"""Handlers that wait for 10 ms, 100 at once: 10,000 orders a second would be ideal.

.venv/bin/python -m benchmarks.waits [--orders N] [--rounds N]
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.kit.figures import Report
from benchmarks.kit.runs import DrainFigures, arguments, as_json, drain_run, drain_table, drains
from benchmarks.kit.subject import Ours, Work

AT_ONCE = 100
IDEAL = AT_ONCE / 0.01


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("waits")
    told = arguments("waits", given, orders=30_000, rounds=3)
    ours = Ours()
    figures = drains({ours.name: drain_run(ours, Work("wait", told.orders, AT_ONCE))}, told.rounds)
    report.tell(drain_table("10 ms of waiting, 100 at once", figures))
    report.tell(of_ideal(figures[ours.name]))
    report.save({"orders": told.orders, "rows": as_json(figures)})


def of_ideal(figures: DrainFigures) -> str:
    """How near it is to what there is to be had."""
    return f"{figures.rate.median / IDEAL:.1%} of the ideal {IDEAL:,.0f} orders/s"


if __name__ == "__main__":
    main()
