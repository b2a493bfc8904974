"""How soon an idle worker starts on a single order: from just before LPUSH to the handler.

    .venv/bin/python -m benchmarks.pickup [--orders N] [--rounds N]

Both ends read CLOCK_MONOTONIC, which all processes of a machine share. Between two orders the
worker is left idle for 100 to 200 ms. The naive BRPOP loop is idle beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.kit.figures import Report
from benchmarks.kit.runs import arguments, as_json, pickup_table, pickups
from benchmarks.kit.subject import Naive, Ours


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("pickup")
    told = arguments("pickup", given, orders=60, rounds=3)
    subjects = (Ours(), Naive())
    figures = pickups(subjects, told.orders, told.rounds)
    report.tell(pickup_table(figures))
    report.save({"rows": as_json(figures)})


if __name__ == "__main__":
    main()
