"""How soon an idle worker starts on a single order."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.kit.ground import Ground
from benchmarks.kit.machine import resident
from benchmarks.kit.progress import marks
from benchmarks.kit.subject import Subject, Work

_WARM_UP = 5


class PickedUp(NamedTuple):
    """waits: seconds, one for each order. idle: MiB of memory that the worker holds."""

    waits: list[float]
    idle: float


def pickup(subject: Subject, ground: Ground, many: int) -> PickedUp:
    """From just before the producer enqueues an order to the handler's first line."""
    work = Work("note", many + _WARM_UP)
    with subject.start(ground, work) as worker:
        placed = subject.place_singly(ground, work)
        idle = resident(worker.pid) / 2**20
        started = [mark.at for mark in marks(ground)]
    waits = [end - begin for begin, end in zip(placed, started, strict=True)]
    return PickedUp(waits[_WARM_UP:], idle)
