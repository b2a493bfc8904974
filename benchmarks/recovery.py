"""`kill -9` with an order in hand: of all processes, and of one child under the supervisor.

.venv/bin/python -m benchmarks.recovery
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

from benchmarks.kit import orders
from benchmarks.kit.figures import Report
from benchmarks.kit.ground import ground
from benchmarks.kit.machine import CORES
from benchmarks.kit.progress import marks
from benchmarks.kit.recovery import recoveries, recovery_table, second_start
from benchmarks.kit.runs import arguments
from benchmarks.kit.subject import Ours, Work
from tests.support.eventually import eventually


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("recovery")
    arguments("recovery", given)
    whole = recoveries([Ours("all processes")])
    found = whole | {"one of two children": child_recovery()}
    report.tell(recovery_table(found))
    report.save({"seconds": found})


def child_recovery() -> float | None:
    """Seconds from the kill of the child that has the order until another starts on it."""
    ours, work = Ours(options=("--processes", "2"), cores=CORES), Work("stick", 1)
    with ground() as here, ours.start(here, work) as supervisor:
        supervisor.wait_until_ready()
        orders.fill(here.client, 1)
        holder = here.marks.with_suffix(".first")
        eventually(lambda: marks(here) and holder.read_text(), what="the order is started")
        os.kill(int(holder.read_text()), signal.SIGKILL)
        return second_start(here, time.monotonic())


if __name__ == "__main__":
    main()
