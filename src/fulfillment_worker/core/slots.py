"""How the room in a worker is shared among its queues."""

from __future__ import annotations

_SHARE = 10
"""Of so many orders of a queue that is preferred, each queue below it that waits gets one."""


class Slots:
    """Room for `capacity` orders in flight, shared by queues in their order of preference.

    A preferred queue goes first. While one below it waits, that one is owed an order for each
    `_SHARE` granted above it, and room for what it is owed is kept free: so no backlog, however
    long, starves another queue.

    limit: a lower capacity for the time being, or None.
    """

    def __init__(self, capacity: int, queues: int) -> None:
        self.capacity = capacity
        self.limit: int | None = None
        self._occupied = [0] * queues
        self._ready = [0] * queues
        self._waiting = [False] * queues
        # Orders granted above each queue while it waited, less those that it was given for them.
        self._above = [0] * queues

    @property
    def free(self) -> int:
        """For how many orders there is room. Never negative."""
        if self.limit is None:
            capacity = self.capacity + sum(self._ready)
        else:
            capacity = min(self.limit, self.capacity)
        return max(0, capacity - sum(self._occupied))

    def hold_ready(self, queue: int, orders: int) -> None:
        """Give `queue` room for so many orders beyond the slots, to follow those that end."""
        self._ready[queue] = orders

    def occupy(self, queue: int, orders: int) -> None:
        """Note how many slots `queue` takes now."""
        self._occupied[queue] = orders

    def release(self, queue: int) -> None:
        """Note that one order of `queue` has ended."""
        self._occupied[queue] -= 1

    def waits(self, queue: int, waits: bool) -> None:
        """Note whether `queue` has more orders than it was given room for."""
        self._waiting[queue] = waits
        if not waits:
            self._above[queue] = 0

    def allowed(self, queue: int) -> int:
        """For how many more orders of `queue` there is room now."""
        if any(self._waiting[:queue]):
            return min(self.free, self._owed(queue))
        kept = sum(self._owed(below) for below in range(queue + 1, len(self._above)))
        return max(0, self._free_for(queue) - kept)

    def grant(self, queue: int, most: int) -> int:
        """Let `queue` take up to `most` orders; returns how many, and books them."""
        granted = min(most, self.allowed(queue))
        self._above[queue] = max(0, self._above[queue] - granted * _SHARE)
        for below in range(queue + 1, len(self._above)):
            if self._waiting[below]:
                self._above[below] = min(self._above[below] + granted, self._most_owed)
        return granted

    def _free_for(self, queue: int) -> int:
        """Room that `queue` may take, which is not what others have to hold some ready: its orders
        may be slow, and would wait for a slot in vain.
        """
        lent = sum(
            max(0, ready - self._occupied[other])
            for other, ready in enumerate(self._ready)
            if other != queue
        )
        return self.free if self.limit is not None else max(0, self.free - lent)

    def _owed(self, queue: int) -> int:
        return self._above[queue] // _SHARE

    @property
    def _most_owed(self) -> int:
        return max(_SHARE, self.capacity)
