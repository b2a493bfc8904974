"""How the room in a worker is shared among its queues.

What is asked for each order costs the same however many queues are idle: sums are kept, and only
queues that wait are looked at.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

_SHARE = 10
"""Of so many orders granted above it, the first queue that waits below the preferred one gets one,
of twice as many the second, and so on: each rank gets more than the next."""


class Slots:
    """Room for `capacity` orders in flight, shared by queues in their order of preference.

    A preferred queue goes first. While others below it wait, each is owed an order for every
    `_SHARE` granted above it, times its place among them; and room for what they are owed is kept
    free by all above them. So no backlog, however long, starves another queue, and each queue
    gets more than those below.

    limit: a lower capacity for the time being, or None.
    """

    def __init__(self, capacity: int, queues: int) -> None:
        self.capacity = capacity
        self.limit: int | None = None
        self._occupied = [0] * queues
        self._ready = [0] * queues
        self._sum_occupied = self._sum_ready = 0
        # Room that queues may take beyond the slots, and don't.
        self._sum_lent = 0
        # The queues that wait, the most preferred first.
        self._waiting: list[int] = []
        # Orders granted above each queue while it waited, less those that it was given for them.
        self._above = [0] * queues

    @property
    def free(self) -> int:
        """For how many orders there is room. Never negative."""
        if self.limit is None:
            capacity = self.capacity + self._sum_ready
        else:
            capacity = min(self.limit, self.capacity)
        return max(0, capacity - self._sum_occupied)

    def hold_ready(self, queue: int, orders: int) -> None:
        """Give `queue` room for so many orders beyond the slots, to follow those that end."""
        if orders != self._ready[queue]:
            self._set(queue, self._occupied[queue], orders)

    def occupy(self, queue: int, orders: int) -> None:
        """Note how many slots `queue` takes now."""
        self._set(queue, orders, self._ready[queue])

    def release(self, queue: int) -> None:
        """Note that one order of `queue` has ended."""
        # As `_set` does, in the shortest way: once for each order.
        self._occupied[queue] -= 1
        self._sum_occupied -= 1
        if self._occupied[queue] < self._ready[queue]:
            self._sum_lent += 1

    def waits(self, queue: int, waits: bool) -> None:
        """Note whether `queue` has more orders than it was given room for."""
        place = bisect_left(self._waiting, queue)
        waited = place < len(self._waiting) and self._waiting[place] == queue
        if waits and not waited:
            insort(self._waiting, queue)
        elif waited and not waits:
            del self._waiting[place]
        if not waits:
            self._above[queue] = 0

    def allowed(self, queue: int) -> int:
        """For how many more orders of `queue` there is room now."""
        if not self._waiting:
            return self._free_for(queue)
        kept = sum(self._owed(below) for below in self._waiting if below > queue)
        if self._waiting[0] < queue:
            return max(0, min(self.free - kept, self._owed(queue)))
        return max(0, self._free_for(queue) - kept)

    def grant(self, queue: int, most: int) -> int:
        """Let `queue` take up to `most` orders; returns how many, and books them."""
        granted = min(most, self.allowed(queue))
        if granted and self._waiting:
            self._book(queue, granted)
        return granted

    def next(self) -> Iterator[int]:
        """The queues that wait and may take orders now: those that are owed some, the least
        preferred first, since room is kept for them; then the most preferred of all.
        """
        free = self.free
        for queue in reversed(self._waiting[1:]):
            if free <= 0:
                return
            owed = self._owed(queue)
            if owed:
                free -= owed
                yield queue
        if free > 0 and self._waiting:
            yield self._waiting[0]

    def _book(self, queue: int, granted: int) -> None:
        self._above[queue] = max(0, self._above[queue] - granted * self._price(queue))
        for place, below in enumerate(self._waiting):
            if below > queue:
                most = _SHARE * (self.capacity + max(1, place))
                self._above[below] = min(self._above[below] + granted, most)

    def _set(self, queue: int, occupied: int, ready: int) -> None:
        was, was_ready = self._occupied[queue], self._ready[queue]
        self._sum_occupied += occupied - was
        self._sum_ready += ready - was_ready
        if ready or was_ready:
            self._sum_lent += max(0, ready - occupied) - max(0, was_ready - was)
        self._occupied[queue], self._ready[queue] = occupied, ready

    def _free_for(self, queue: int) -> int:
        """Room that `queue` may take, which is not what others have to hold some ready: its orders
        may be slow, and would wait for a slot in vain.
        """
        if self.limit is not None:
            return self.free
        lent = self._sum_lent - max(0, self._ready[queue] - self._occupied[queue])
        return max(0, self.free - lent)

    def _owed(self, queue: int) -> int:
        above = self._above[queue]
        return above // self._price(queue) if above >= _SHARE else 0

    def _price(self, queue: int) -> int:
        """For how many orders granted above it the queue is owed one."""
        return _SHARE * max(1, bisect_left(self._waiting, queue))
