"""How soon an idle worker starts on a single order."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.kit.ground import Ground, ground
from benchmarks.kit.machine import resident
from benchmarks.kit.progress import marks
from benchmarks.kit.subject import Subject, Work, place_singly

_WARM_UP = 5
_WARM_UP_TOGETHER = 10
"""More, since the others may still be starting."""


class PickedUp(NamedTuple):
    """waits: seconds, one for each order. idle: MiB of memory that the worker holds."""

    waits: list[float]
    idle: float


def pickup(subject: Subject, ground: Ground, many: int) -> PickedUp:
    """From just before the producer enqueues an order to the handler's first line."""
    work = Work("note", many + _WARM_UP)
    with subject.start(ground, work) as worker:
        placed = place_singly(subject, ground, work)
        idle = resident(worker.pid) / 2**20
        started = [mark.at for mark in marks(ground)]
    waits = [end - begin for begin, end in zip(placed, started, strict=True)]
    return PickedUp(waits[_WARM_UP:], idle)


def side_by_side(subjects: Sequence[Subject], many: int) -> dict[str, PickedUp]:
    """The same for several workers that are idle at the same time, by their names.

    Each has a Redis of its own, all on the same cores. Every now and then one of them gets an
    order; so when the machine changes its pace, it does so for all of them.
    """
    work = Work("note", many + _WARM_UP_TOGETHER)
    with ExitStack() as stack:
        grounds = [stack.enter_context(ground()) for _ in subjects]
        pairs = list(zip(subjects, grounds, strict=True))
        workers = [stack.enter_context(each.start(here, work)) for each, here in pairs]
        with ThreadPoolExecutor(len(pairs)) as producers:
            placed = list(producers.map(lambda pair: place_singly(pair[0], pair[1], work), pairs))
        idle = [resident(worker.pid) / 2**20 for worker in workers]
        started = [[mark.at for mark in marks(here)] for here in grounds]
    waits = [
        [end - begin for begin, end in zip(*times, strict=True)]
        for times in zip(placed, started, strict=True)
    ]
    return {
        each.name: PickedUp(waits[number][_WARM_UP_TOGETHER:], idle[number])
        for number, each in enumerate(subjects)
    }
