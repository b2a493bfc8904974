"""Draining a full queue: the rate in the middle of it, and what CPU an order costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from benchmarks.kit.ground import Ground
from benchmarks.kit.machine import cpu_seconds, resident
from benchmarks.kit.progress import Progress
from benchmarks.kit.subject import Subject, Work
from tests.support.process import RunningProcess

_POLL = 0.02
"""Seconds between two looks; more in a long run, since looking takes the worker's cores, too."""
_WARM = 0.1
"""The share of the orders after which it is taken to run smoothly."""
_PATIENCE = 120.0


class Drained(NamedTuple):
    """One run. rate: orders a second. worker_cpu, redis_cpu: microseconds an order.

    memory: MiB that the worker held at the end.
    """

    rate: float
    worker_cpu: float
    redis_cpu: float
    memory: float


class _Sample(NamedTuple):
    progress: Progress
    worker: float
    redis: float
    memory: int


def drain(subject: Subject, ground: Ground, work: Work) -> Drained:
    """Fill the queue, start the worker, and measure from when it is warm until it is done."""
    subject.fill(ground, work)
    return drain_filled(subject, ground, work)


def drain_filled(subject: Subject, ground: Ground, work: Work) -> Drained:
    """The same where the queue is full already, maybe of more orders than are to be drained."""
    before = subject.progress(ground).done
    with subject.start(ground, work) as worker:
        samples = _watch(
            lambda: _Sample(
                _since(before, subject.progress(ground)),
                cpu_seconds(worker.pid),
                ground.redis_cpu(),
                resident(worker.pid),
            ),
            work.last_told,
            lambda: _why_ended(worker),
        )
    return _between(*_window(samples, work.last_told))


def _why_ended(worker: RunningProcess) -> str:
    """What it said, where it isn't there any more; "" while it runs."""
    if worker.returncode is None:
        return ""
    return f"exit {worker.wait()}\n{worker.output}"


def _since(before: int, progress: Progress) -> Progress:
    return Progress(progress.done - before, progress.at)


def _watch(sample: Callable[[], _Sample], many: int, ended: Callable[[], str]) -> list[_Sample]:
    samples = [sample()]
    began = time.monotonic()
    ends = began + _PATIENCE
    while samples[-1].progress.done < many:
        time.sleep(max(_POLL, (time.monotonic() - began) / 50))
        samples.append(sample())
        if (why := ended()) or time.monotonic() > ends:
            done = samples[-1].progress.done
            raise RuntimeError(f"{done} of {many} orders were done, and then: {why or 'silence'}")
    return samples


def _window(samples: list[_Sample], many: int) -> tuple[_Sample, _Sample]:
    """From warm to the last sample that is certain not to include a time of idleness."""
    moved = [
        later for earlier, later in pairwise(samples) if later.progress.done > earlier.progress.done
    ]
    warm = [each for each in moved if each.progress.done >= _WARM * many]
    busy = [each for each in warm if each.progress.done < many]
    last = busy[-1] if busy and busy[-1].progress.done > 0.7 * many else warm[-1]
    if last.progress.done <= warm[0].progress.done:
        raise RuntimeError(f"{many} orders are too few to measure")
    return warm[0], last


def _between(first: _Sample, last: _Sample) -> Drained:
    done = last.progress.done - first.progress.done
    return Drained(
        rate=done / (last.progress.at - first.progress.at),
        worker_cpu=(last.worker - first.worker) / done * 1e6,
        redis_cpu=(last.redis - first.redis) / done * 1e6,
        memory=last.memory / 2**20,
    )
