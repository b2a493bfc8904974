"""Many idle workers and one order: what they cost Redis, and how many the order wakes.

.venv/bin/python -m benchmarks.idle [--workers N] [--seconds N]
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.kit import orders
from benchmarks.kit.figures import Report
from benchmarks.kit.ground import Ground, ground
from benchmarks.kit.machine import CORES
from benchmarks.kit.progress import marks
from benchmarks.kit.runs import arguments
from benchmarks.kit.subject import Ours, Work
from benchmarks.kit.watching import commands_during, wait_until_booked

_SETTLING = 3.0


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("idle")
    told = arguments("idle", given, workers=100, seconds=20)
    with ground() as here, ExitStack() as stack:
        start(here, stack, told.workers)
        time.sleep(_SETTLING)
        idle = commands_during(here, lambda: time.sleep(told.seconds))
        one = commands_during(here, lambda: _one_order(here))
        started = len(marks(here))
    each = idle / told.seconds / told.workers
    report.tell(f"{told.workers} idle workers: {each:.2f} commands a second each")
    report.tell(
        f"one order: handled {started} time(s); {one} commands in {_SETTLING:g} s, of which about "
        f"{idle / told.seconds * _SETTLING:.0f} are the idle workers' own"
    )
    report.save({"workers": told.workers, "commands_a_second_each": each, "one_order": one})


def start(here: Ground, stack: ExitStack, many: int) -> None:
    """So many workers, all ready, on all cores."""
    work = Work("note", 1)
    ours = Ours(cores=CORES)
    workers = [stack.enter_context(ours.start(here, work)) for _ in range(many)]
    for worker in workers:
        worker.wait_until_ready(deadline=120)


def _one_order(here: Ground) -> None:
    orders.fill(here.client, 1)
    wait_until_booked(here, 1)
    time.sleep(_SETTLING)


if __name__ == "__main__":
    main()
