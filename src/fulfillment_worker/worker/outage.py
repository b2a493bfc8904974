"""While Redis can't be reached: what is told of it, and when it is tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from fulfillment_worker.core.events import QueueLost, QueueRegained
from fulfillment_worker.worker.ledger import Emit

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between attempts to reach Redis: it is to be used again within 2 s of its return."""
_TELL_AGAIN = 60.0
"""Seconds until a cause may be told again, where others came between: two may alternate."""


class Outage:
    """Of one queue. It lasts from the start of the worker until its first exchange, too."""

    def __init__(
        self, queue: str, emit: Emit, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """clock: monotonic seconds."""
        self._queue = queue
        self._emit = emit
        self._clock = clock
        self._why = ""
        # When each cause of this outage was told.
        self._told: dict[str, float] = {}
        self._met = False
        self._since: float | None = clock()
        self._pause = _FIRST_PAUSE

    def note(self, why: str) -> float:
        """An attempt failed; returns the seconds until the next one."""
        now = self._clock()
        if self._since is None:
            self._since = now
        if why != self._why and now - self._told.get(why, float("-inf")) >= _TELL_AGAIN:
            self._emit(QueueLost(self._queue, why))
            self._why, self._told[why] = why, now
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        return random.uniform(0.5, 1.0) * pause

    def end(self) -> None:
        """It could be reached. Nothing happens where there was no outage."""
        if self._since is not None:
            away = self._clock() - self._since
            first, self._met = not self._met, True
            self._emit(QueueRegained(self._queue, away, first))
            self._since, self._pause, self._why = None, _FIRST_PAUSE, ""
            self._told.clear()
