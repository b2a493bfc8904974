"""The pulse of the worker's event loop: proves that it turns, and measures how late it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from math import ceil

from fulfillment_worker.observability.health import Health
from fulfillment_worker.observability.metrics import Metrics

# A blockage of minutes adds no more samples than this: the figure is out of scale by then.
_MOST_SAMPLES = 400


def _nothing() -> None:
    pass


class LoopTicker:
    """Ticks on the event loop in which `start` is called.

    beat: called with each tick. interval: seconds between ticks. tasks_every: seconds between
    counts of the loop's tasks.
    """

    def __init__(
        self,
        health: Health,
        metrics: Metrics,
        *,
        beat: Callable[[], None] = _nothing,
        interval: float = 0.25,
        tasks_every: float = 5.0,
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._beat = beat
        self._interval = interval
        self._tasks_every = tasks_every
        self._count_tasks_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to tick, on the running loop. Idempotent."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._tick(loop, loop.time())

    async def stop(self) -> None:
        """Tick no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        # First of all, so that no fault below can end the ticking.
        following = now + self._interval
        self._timer = loop.call_at(following, self._tick, loop, following)
        self._health.looped(time.monotonic())
        self._beat()
        unix = time.time()
        for lag in lags(now - due, self._interval):
            self._metrics.looped(unix, lag)
        if now >= self._count_tasks_at:
            self._count_tasks_at = now + self._tasks_every
            self._metrics.tasks(len(asyncio.all_tasks(loop)))


def lags(lag: float, interval: float) -> Iterator[float]:
    """The lag of this tick, and of those that should have come while the loop was blocked.

    Without these, ten blocked seconds would be one sample among thousands ("coordinated
    omission", Gil Tene), and no percentile would show them.
    """
    yield lag
    for missed in range(1, min(ceil(lag / interval), _MOST_SAMPLES)):
        yield lag - missed * interval
