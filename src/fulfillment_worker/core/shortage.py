"""A shortage of the worker's own: of threads, descriptors or memory. It costs orders nothing.

An attempt that can't be made for want of one is given back, and the worker takes fewer orders: as
many as it could do at the time. Then it tries a few more, again and again, until it has all.
"""

from __future__ import annotations

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 8.0
"""Seconds between two steps to more orders. It doubles with each shortage."""
_STEP = 4
"""A step is one part of so many."""


class Shortage(Exception):
    """No attempt was made. The message is one line for people: what is missing, what to do."""


class ShortageLimit:
    """How many orders are taken. Times are monotonic seconds, given by the caller.

    capacity: how many are when nothing is short. limit: how many may be in flight; None for no
    limit.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.limit: int | None = None
        self._pause = _FIRST_PAUSE
        self._next_step = 0.0
        self._stepped = False  # since the last shortage

    def short(self, running: int, now: float) -> None:
        """An attempt could not be made while `running` others were under way."""
        if self.limit is None:
            self.limit, self._pause = running, _FIRST_PAUSE
        elif self._stepped:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self.limit = min(self.limit, running)
        self._next_step, self._stepped = now + self._pause, False

    def room(self, now: float) -> int | None:
        """How many orders may be in flight; None for no limit."""
        # Several steps where nobody asked for long: an idle worker has nothing to ask for.
        while self.limit is not None and now >= self._next_step:
            more = self.limit + max(1, self.limit // _STEP)
            self.limit = more if more < self._capacity else None
            self._next_step += self._pause
            self._stepped = True
        return self.limit
