"""While Redis can't be reached: what is told of it, and when it is tried again."""

from __future__ import annotations

import random
import time

from fulfillment_worker.core.events import QueueLost, QueueRegained
from fulfillment_worker.worker.ledger import Tell

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between attempts to reach Redis: it is to be used again within 2 s of its return."""


class Outage:
    """Of one queue. It lasts from the start of the worker until its first trip, too."""

    def __init__(self, queue: str, tell: Tell) -> None:
        self._queue = queue
        self._tell = tell
        self._why = ""
        self._met = False
        self._since: float | None = time.monotonic()
        self._pause = _FIRST_PAUSE

    def note(self, why: str) -> float:
        """An attempt failed; returns the seconds until the next one."""
        if self._since is None:
            self._since = time.monotonic()
        if why != self._why:
            self._tell(QueueLost(self._queue, why))
            self._why = why
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        return random.uniform(0.5, 1.0) * pause

    def end(self) -> None:
        """It could be reached. Nothing happens where there was no outage."""
        if self._since is not None:
            away = time.monotonic() - self._since
            first, self._met = not self._met, True
            self._tell(QueueRegained(self._queue, away, first))
            self._since, self._pause, self._why = None, _FIRST_PAUSE, ""
