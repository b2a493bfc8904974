"""How the room in a worker is shared among its queues."""

from __future__ import annotations

_SHARE = 10
"""Of so many orders of a queue that is preferred, each queue below it that waits gets one."""


class Slots:
    """Room for `capacity` orders in flight, shared by queues in their order of preference.

    A preferred queue goes first. While one below it waits, that one earns a credit for each
    `_SHARE` orders granted above it, and what its credits are worth is kept free for it: so no
    backlog, however long, starves another queue.
    """

    def __init__(self, capacity: int, queues: int) -> None:
        self.capacity = capacity
        self._occupied = [0] * queues
        self._waiting = [False] * queues
        self._credits = [0.0] * queues

    @property
    def free(self) -> int:
        """For how many orders there is room. Never negative."""
        return max(0, self.capacity - sum(self._occupied))

    def occupy(self, queue: int, orders: int) -> None:
        """Note how many slots `queue` takes now."""
        self._occupied[queue] = orders

    def waits(self, queue: int, waits: bool) -> None:
        """Note whether `queue` has more orders than it was given room for."""
        self._waiting[queue] = waits
        if not waits:
            self._credits[queue] = 0.0

    def allowed(self, queue: int) -> int:
        """For how many more orders of `queue` there is room now."""
        if any(self._waiting[:queue]):
            return min(self.free, int(self._credits[queue]))
        kept = sum(int(credit) for credit in self._credits[queue + 1 :])
        return max(0, self.free - kept)

    def grant(self, queue: int, most: int) -> int:
        """Let `queue` take up to `most` orders; returns how many, and books them."""
        granted = min(most, self.allowed(queue))
        self._credits[queue] = max(0.0, self._credits[queue] - granted)
        for below in range(queue + 1, len(self._credits)):
            if self._waiting[below]:
                earned = self._credits[below] + granted / _SHARE
                self._credits[below] = min(earned, max(1.0, self.capacity / _SHARE))
        return granted
