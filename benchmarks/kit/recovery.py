"""How soon an order runs again whose worker was killed with it in its hands."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from benchmarks.kit.figures import table
from benchmarks.kit.ground import Ground, ground
from benchmarks.kit.progress import marks
from benchmarks.kit.subject import Subject, Work
from tests.support.eventually import eventually

PATIENCE = 120.0
"""Seconds after which it is given up."""
_SETTLING = 5.0
"""Seconds for the first worker to start: the order is placed with one that is idle."""


def recovery(subject: Subject, here: Ground) -> float | None:
    """Seconds from `kill -9` of all its processes until a new worker starts on the order.

    The new worker is started at once, as a supervisor would. None: not within PATIENCE.
    """
    work = Work("stick", 1)
    with subject.start(here, work) as first:
        time.sleep(_SETTLING)
        subject.fill(here, work)
        eventually(lambda: len(marks(here)) == 1, deadline=60, what=f"{subject.name} has started")
        os.killpg(first.pid, signal.SIGKILL)
        killed = time.monotonic()
    with subject.start(here, work):
        return second_start(here, killed)


def second_start(here: Ground, killed: float) -> float | None:
    """Seconds from then until an order is started for the second time."""
    while time.monotonic() < killed + PATIENCE:
        time.sleep(0.02)
        if len(told := marks(here)) > 1:
            return told[1].at - killed
    return None


def recoveries(subjects: list[Subject]) -> dict[str, float | None]:
    """Of all at the same time, each on a ground of its own: they mostly wait."""

    def run(subject: Subject) -> float | None:
        with ground() as here:
            return recovery(subject, here)

    with ThreadPoolExecutor(len(subjects)) as pool:
        found = list(pool.map(run, subjects))
    return {subject.name: seconds for subject, seconds in zip(subjects, found, strict=True)}


def recovery_table(found: Mapping[str, float | None]) -> str:
    """Seconds."""
    return table(
        ["kill -9 with an order in hand, defaults", "runs again after"],
        [
            [name, f"{seconds:.1f} s" if seconds is not None else f"not within {PATIENCE:.0f} s"]
            for name, seconds in found.items()
        ],
    )
