"""How soon an idle worker starts on a single order."""

from __future__ import annotations

from benchmarks.kit.ground import Ground
from benchmarks.kit.progress import marks
from benchmarks.kit.subject import Subject, Work

_WARM_UP = 5


def pickup(subject: Subject, ground: Ground, many: int) -> list[float]:
    """Seconds from just before the producer enqueues an order to the handler's first line."""
    work = Work("note", many + _WARM_UP)
    with subject.start(ground, work):
        placed = subject.place_singly(ground, work)
        started = [mark.at for mark in marks(ground)]
    return [end - begin for begin, end in zip(placed, started, strict=True)][_WARM_UP:]
