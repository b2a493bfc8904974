"""What a worker and a queue say to each other.

An exchange says: these deliveries ended so, these are about to start, and I have room for so many.
A reply says: these may start, here are new deliveries, and here is how the queue stands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from enum import IntEnum
from typing import Protocol

import msgspec

from fulfillment_worker.core.limits import NO_LIMITS, Limits
from fulfillment_worker.core.outcome import Outcome, Withdrawal

MOST_BYTES = 512 * 1024
"""Bytes of orders after which an exchange claims, or moves, no more: so large orders can't keep the
queue busy for long, nor the line to it."""

LARGE = 64 * 1024
"""Bytes from which on an order is sent no more often than it must be."""


class Begin(msgspec.Struct, frozen=True, array_like=True):
    """A request to start an attempt. queued_at: Unix milliseconds."""

    delivery: int
    order_id: str
    attempt: int
    queued_at: int


class Verdict(IntEnum):
    """The queue's answer to a Begin; all but GO end the delivery."""

    GO = 1
    DUPLICATE = 2  # fulfilled already: acknowledged, and counted
    BUSY = 3  # another copy of the order is being handled now: this one waits its turn
    HELD = 4  # an operator holds it: it waits until it is released
    CANCELLED = 5  # an operator has ended it
    LIMITED = 6  # its key or the fleet is at a limit: it waits its turn


class Limited(IntEnum):
    """Whether the fleet has limits. REACHED: orders wait, and none may be claimed for now."""

    NO = 0
    YES = 1
    REACHED = 2


class LimitUse(msgspec.Struct, frozen=True):
    """What is used of the limits. started: attempts, in the last unit of the rate. keyed: orders in
    flight that have a key. parked: orders that wait for their key.
    """

    started: int = 0
    keyed: int = 0
    parked: int = 0


class Exchange(msgspec.Struct, kw_only=True):
    """What a worker says in one exchange.

    worker: the name under which it holds orders; a new one after each lost lease.
    number: 1 for the first exchange of a worker, and one more for each that follows. The queue does
        nothing unless it is the one that comes next. So an exchange that arrives twice has one
        effect, an exchange whose reply the worker gave up on has none once the worker has asked
        what it holds, and both always agree on which deliveries are in flight.
    holding: how many deliveries it believes to hold before this exchange.
    forget: fulfilled deliveries that came with an order id: the queue needs to keep it no longer.
    claim: how many orders it has room for; 0 also hands on what it was woken for.
    most_bytes: it claims no more once it has claimed so many bytes; one order at least.
    first_delivery: the id of the first delivery that this exchange may make; the others follow it.
    suspects: how many of the orders that it holds are on their last chance.
    breaker_open: whether it claims less than it could, since the handler's dependency is down.
    survey: whether the reply is to say how the queue stands.
    standing: it stands by until an order comes, and claims that one alone, unless it is large. Its
        reply doesn't tell what is due next.
    leaving: it is the last exchange of this worker.
    """

    worker: str
    number: int = 1
    holding: int = 0
    forget: list[int] = []
    outcomes: list[Outcome] = []
    begins: list[Begin] = []
    claim: int = 0
    most_bytes: int = MOST_BYTES
    first_delivery: int = 1
    suspects: int = 0
    breaker_open: bool = False
    survey: bool = False
    standing: bool = False
    leaving: bool = False


class Claimed(msgspec.Struct, frozen=True):
    """An order just claimed.

    failures: failed attempts so far. orphanings: times it outlived its worker.
    first_seen: Redis time in ms of its first claim. last_chance: it outlived two
    workers, or one more orphaning ends it. order_id: the id under which an earlier attempt began,
    "" where none did: it stays the order's id, however its bytes are read now. begun: the id under
    which this attempt has begun already, "" where it has not: then it asks.
    """

    delivery: int
    raw: bytes
    failures: int
    orphanings: int
    first_seen: int
    last_chance: bool
    order_id: str = ""
    begun: str = ""


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """How a queue stands at one instant. Times are Unix ms of Redis's clock.

    oldest: since when the oldest claimable order has been waiting; `at` where none waits.
    limits, used: of the fleet.
    """

    at: int
    waiting: int
    in_flight: int
    retrying: int
    scheduled: int = 0
    held: int = 0
    dead: int
    oldest: int
    received: int
    fulfilled: int
    duplicates: int
    dropped: int
    cancelled: int = 0
    limits: Limits = NO_LIMITS
    used: LimitUse = LimitUse()

    @property
    def unaccounted(self) -> int:
        """Orders received that are in none of the places: 0 unless one was lost (invariant 5)."""
        ended = self.fulfilled + self.dead + self.cancelled + self.duplicates + self.dropped
        waits = self.retrying + self.scheduled + self.held
        return self.received - (self.in_flight + waits + ended)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the queue answers.

    lease_lost: nothing was done, since the worker's lease had run out; its orders are others' now.
    stale: nothing was done, since the exchange is not the one that comes next, or the worker
        doesn't hold what it believes to hold: let it ask.
    now: Redis time, Unix ms.
    verdicts: one for each Begin, in order.
    first_claims: how many orders were taken from the public list: those of `claimed` that are new,
        and those that wait for their key.
    oversized: the sizes of orders on the public list that were larger than is allowed. They are
        dead letters now, and were not sent.
    recovered: orphans put back from workers that are gone; orphaned: those of them now dead.
    backlog: whether more orders could have been claimed.
    limited: whether there are limits of the fleet, and whether they are reached.
    next_due: Redis time in ms at which a retry is due, a lease runs out or a limit lets orders
        start, or None.
    stops: deliveries to be stopped for an operator, and what their orders are to be. They are told
        until they have ended.
    obeyed: deliveries among the outcomes that ended as an operator wishes, and not as was said.
    renewed_at: when the lease was renewed while the reply was on its way, in monotonic seconds, or
        None.
    """

    now: int
    lease_lost: bool = False
    stale: bool = False
    verdicts: list[Verdict] = []
    claimed: list[Claimed] = []
    first_claims: int = 0
    oversized: list[int] = []
    recovered: int = 0
    orphaned: int = 0
    backlog: bool = False
    paused: bool = False
    limited: Limited = Limited.NO
    next_due: int | None = None
    survey: Survey | None = None
    stops: dict[int, Withdrawal] = {}
    obeyed: dict[int, Withdrawal] = {}
    renewed_at: float | None = None


class Holdings(msgspec.Struct, frozen=True):
    """What a worker holds according to the queue.

    lease_lost: nothing any more, since its lease ran out. stale: nothing was done, since the worker
        has said more by now. number: that of the question, which counts as an exchange; the next is
        one more.
    deliveries: all that it holds. unknown: those of them that it didn't name, if they are small.
    given_back: how many others it didn't name; they are in flight no more. first_claims: how many
        of these the lost exchange had taken from the public list.
    """

    now: int
    lease_lost: bool = False
    stale: bool = False
    number: int = 0
    deliveries: frozenset[int] = frozenset()
    unknown: list[Claimed] = []
    given_back: int = 0
    first_claims: int = 0


class Released(msgspec.Struct, frozen=True):
    """What became of the orders of a worker that is gone.

    recovered: how many were put back. orphaned: those of them that are dead now.
    """

    recovered: int
    orphaned: int


class Wakeup(msgspec.Struct, frozen=True):
    """What ended a wait.

    came: whether an order may have come. exchange, reply: of the one that stood by, where it took
        place; without a reply where it failed, maybe midway.
    """

    came: bool = False
    exchange: Exchange | None = None
    reply: Reply | None = None


class QueueUnavailable(Exception):
    """The queue could not be asked, or refused. The message is one line for operators, without
    secrets.
    """


class Queue(Protocol):
    """A queue of orders. Every method raises QueueUnavailable where the queue can't be asked."""

    name: str

    async def send(self, exchange: Exchange) -> Awaitable[Reply]:
        """Send an exchange. QueueUnavailable means that it was not sent, and nothing happened.

        The reply is to be awaited. QueueUnavailable then means that the exchange may have taken
        place, as a whole, or not at all.
        """
        ...

    async def exchange(self, exchange: Exchange) -> Reply:
        """Send one, and wait for its reply. After QueueUnavailable it may have taken place."""
        return await (await self.send(exchange))

    async def holdings(
        self, worker: str, number: int, known: Collection[int], delay_ms: int = 0
    ) -> Holdings:
        """What `worker` holds beside `known`: asked after an exchange whose reply was lost.

        number: higher than that of any exchange or question of this worker before. From here on
            none of those has an effect, should it still be under way.
        What of it is large is given back, due in `delay_ms`; 0 keeps its place.
        """
        ...

    async def release(self, worker: str) -> Released:
        """Put back what `worker` holds, as if its lease had run out.

        Only for who has seen the end of its process, or an order could have two owners.
        """
        ...

    async def wait(self, seconds: float) -> Wakeup:
        """An order that arrived within `seconds`. It still counts as waiting: it is not claimed,
        unless an exchange stood by that claimed it.
        """
        ...

    async def stand_by(self, exchange: Exchange) -> None:
        """Let `exchange` take place as soon as `wait` ends, without a word from the worker.

        Whatever the worker says before that makes it stale. It may be forgotten, too.
        """
        ...

    def on_wake(self, wake: Callable[[], None]) -> None:
        """Call `wake` when there may be something to do that `wait` doesn't tell of.

        An operator's deed, orders that were given back, or one that is due and that nobody had room
        for. It may be called for nothing, and needn't be called where the queue can't tell.
        """
        ...

    async def close(self) -> None:
        """Let go of all connections. Idempotent."""
        ...
