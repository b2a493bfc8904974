"""How many orders a worker may claim and start, and how its queues share that.

It alone counts what a worker has in its hands, so it alone answers. It is told by named moves, one
for each change of a delivery's stage. What is asked for each order costs the same however many
queues are idle: sums are kept, and only queues with a backlog are looked at.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

_SHARE = 10
"""Of so many orders granted above it, the first queue with a backlog below the preferred one gets
one, of twice as many the second, and so on: each rank gets more than the next."""


class Capacity:
    """Slots for attempts, shared by queues in their order of preference.

    Queues are numbered by preference, from 0. A preferred queue goes first. While others below it
    have a backlog, each is owed an order for every `_SHARE` granted above it, times its place among
    them; and room for what they are owed is kept free by all above them. So no backlog, however
    long, starves another queue, and each queue gets more than those below.

    slots: attempts that are under way or not recorded yet, at most; so no more orders than that run
        again if this process dies.
    limit: of the circuit breaker or a shortage: orders held at most for the time being, or None.
    running: attempts under way.
    unrecorded: orders that have ended, and Redis doesn't know it yet.
    """

    def __init__(self, slots: int, queues: int = 1) -> None:
        self.slots = slots
        self.limit: int | None = None
        self.running = 0
        self.unrecorded = 0
        # Orders claimed or being claimed, and not ended.
        self._occupied = [0] * queues
        self._prefetch = [0] * queues
        self._sum_occupied = self._sum_prefetch = 0
        # Room to prefetch that is not used.
        self._sum_lent = 0
        # The queues with a backlog, the most preferred first.
        self._backlogs: list[int] = []
        # Orders granted above each queue while it had a backlog, less those that it got for them.
        self._above = [0] * queues

    # --- questions ----------------------------------------------------------------------------

    @property
    def startable(self) -> int:
        """How many more attempts may start now. Negative after a lost reply, perhaps."""
        return self.slots - self.running - self.unrecorded

    @property
    def free(self) -> int:
        """How many more orders may be held. Never negative."""
        if self.limit is None:
            most = self.slots + self._sum_prefetch
        else:
            most = min(self.limit, self.slots)
        return max(0, most - self._sum_occupied)

    @property
    def held(self) -> int:
        """How many orders are claimed or being claimed, and their ends are not recorded."""
        return self._sum_occupied + self.unrecorded

    def claimable(self, queue: int) -> int:
        """How many more orders of `queue` may be claimed now."""
        if not self._backlogs:
            return self._free_for(queue)
        kept = sum(self._owed(below) for below in self._backlogs if below > queue)
        if self._backlogs[0] < queue:
            return max(0, min(self.free - kept, self._owed(queue)))
        return max(0, self._free_for(queue) - kept)

    def next(self) -> Iterator[int]:
        """The queues with a backlog that may claim now: those that are owed orders, the least
        preferred first, since room is kept for them; then the most preferred of all.
        """
        free = self.free
        for queue in reversed(self._backlogs[1:]):
            if free <= 0:
                return
            owed = self._owed(queue)
            if owed:
                free -= owed
                yield queue
        if free > 0 and self._backlogs:
            yield self._backlogs[0]

    # --- what is known of a queue -------------------------------------------------------------

    def set_prefetch(self, queue: int, orders: int) -> None:
        """Let `queue` hold so many orders beyond the slots, to follow those that end."""
        if orders != self._prefetch[queue]:
            self._set(queue, self._occupied[queue], orders)

    def set_backlog(self, queue: int, has_backlog: bool) -> None:
        """Note whether `queue` has more orders than it may claim."""
        place = bisect_left(self._backlogs, queue)
        had_backlog = place < len(self._backlogs) and self._backlogs[place] == queue
        if has_backlog and not had_backlog:
            insort(self._backlogs, queue)
        elif had_backlog and not has_backlog:
            del self._backlogs[place]
        if not has_backlog:
            self._above[queue] = 0

    # --- moves --------------------------------------------------------------------------------

    def reserve(self, queue: int, most: int) -> int:
        """Reserve up to `most` slots for orders that an exchange asks for; returns how many.

        `unreserve` them when the exchange is over.
        """
        granted = min(most, self.claimable(queue))
        if granted:
            if self._backlogs:
                self._book(queue, granted)
            self.claimed(queue, granted)
        return granted

    def unreserve(self, queue: int, orders: int) -> None:
        """Give back what was reserved: what was claimed with it is counted by itself."""
        self.dropped(queue, orders)

    def claimed(self, queue: int, orders: int) -> None:
        """The worker holds so many more."""
        if orders:
            self._set(queue, self._occupied[queue] + orders, self._prefetch[queue])

    def started(self) -> None:
        """An attempt is under way."""
        self.running += 1

    def stopped(self) -> None:
        """An attempt is under way no more, and its order is others' now."""
        self.running -= 1

    def ended(self, queue: int) -> None:
        """An attempt has ended; the order frees its slot once that is recorded."""
        self.running -= 1
        self.given_up(queue)

    def given_up(self, queue: int) -> None:
        """An order has ended without an attempt; it frees its slot once that is recorded."""
        # As `_set` does, in the shortest way: once for each order.
        self.unrecorded += 1
        self._occupied[queue] -= 1
        self._sum_occupied -= 1
        if self._occupied[queue] < self._prefetch[queue]:
            self._sum_lent += 1

    def recorded(self, orders: int) -> None:
        """Redis knows the ends of so many orders, or they are others' now."""
        self.unrecorded -= orders

    def dropped(self, queue: int, orders: int = 1) -> None:
        """So many orders that had not ended are this worker's no more."""
        if orders:
            self._set(queue, self._occupied[queue] - orders, self._prefetch[queue])

    # --- shares -------------------------------------------------------------------------------

    def _book(self, queue: int, granted: int) -> None:
        self._above[queue] = max(0, self._above[queue] - granted * self._price(queue))
        for place, below in enumerate(self._backlogs):
            if below > queue:
                most = _SHARE * (self.slots + max(1, place))
                self._above[below] = min(self._above[below] + granted, most)

    def _set(self, queue: int, occupied: int, prefetch: int) -> None:
        was, could = self._occupied[queue], self._prefetch[queue]
        self._sum_occupied += occupied - was
        self._sum_prefetch += prefetch - could
        if prefetch or could:
            self._sum_lent += max(0, prefetch - occupied) - max(0, could - was)
        self._occupied[queue], self._prefetch[queue] = occupied, prefetch

    def _free_for(self, queue: int) -> int:
        """Room that `queue` may take, which is not what others may prefetch: its orders may be
        slow, and would wait for a slot in vain.
        """
        if self.limit is not None:
            return self.free
        lent = self._sum_lent - max(0, self._prefetch[queue] - self._occupied[queue])
        return max(0, self.free - lent)

    def _owed(self, queue: int) -> int:
        above = self._above[queue]
        return above // self._price(queue) if above >= _SHARE else 0

    def _price(self, queue: int) -> int:
        """For how many orders granted above it the queue is owed one."""
        return _SHARE * max(1, bisect_left(self._backlogs, queue))
