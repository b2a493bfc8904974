"""The conversation between this worker and one queue.

Each trip carries all that is ready: outcomes, requests to begin, the heartbeat, and the room for
more. While one is under way, finished orders gather for the next, so the batch grows with the
load by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable

import msgspec

from fulfillment_worker.core.appetite import Appetite
from fulfillment_worker.core.cadence import HEARTBEAT, next_exchange_at
from fulfillment_worker.core.capacity import Capacity
from fulfillment_worker.core.exchange import Queue, QueueUnavailable, Reply, Rung, Trip
from fulfillment_worker.core.outcome import Outcome, Requeued, Result
from fulfillment_worker.core.prefetch import Prefetch
from fulfillment_worker.worker.deferred import DeferredTell
from fulfillment_worker.worker.delivery import Delivery
from fulfillment_worker.worker.doorbell import Doorbell
from fulfillment_worker.worker.executor import Executor
from fulfillment_worker.worker.guard import Guard
from fulfillment_worker.worker.ledger import Ledger, OrderRules, Tell
from fulfillment_worker.worker.outage import Outage

_MOST_CLAIMS = 500
"""Orders claimed in one trip, so that Redis is never busy with one worker for long."""
_MANY = 50
"""Orders in one reply, from which on the next trip is sent first and the reply worked off then."""
_STAGES = 4
"""Trips that an order goes through when trips and work overlap: claimed, read, begun, handled."""
_WAKE_JITTER = 0.05
"""Seconds within which all idle workers look when they are woken."""
_LAST_PATIENCE = 2.0
"""Seconds that a quiet worker which holds nothing waits for Redis: it has nothing to lose."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What all conversations of a worker share.

    lease: seconds. alone: whether there is one only. capacity_freed: wakes those that wait for it.
    """

    rules: OrderRules
    lease: float
    capacity: Capacity
    executor: Executor
    guard: Guard
    tell: Tell
    alone: bool
    capacity_freed: Callable[[], None]


class Conversation:
    """Keeps the orders of one queue flowing: compose a trip, send it, act on the reply; again."""

    def __init__(self, queue: Queue, rank: int, terms: Terms) -> None:
        self._queue = queue
        self._rank = rank
        self._terms = terms
        self._capacity = terms.capacity
        self._tell = DeferredTell(terms.tell)
        self._ledger = Ledger(queue.name, terms.rules, self._tell, terms.capacity, self, rank)
        self._doorbell = Doorbell(queue, self._ring)
        queue.on_wake(self._woken)
        self._nudged = asyncio.Event()
        self._urgent = False
        self._quiet = False
        self._patience: asyncio.Timeout | None = None
        self._aborted = False
        self._unsure = False
        self._talking = False
        self._standing: Trip | None = None
        self._outage = Outage(queue.name, terms.tell)
        # As if a trip had just found a backlog: the first trip comes at once.
        self._last = Reply(now=0, backlog=True)
        self._talked_at = self._surveyed_at = float("-inf")
        # When something is to do that no order tells of, as far as is known. Monotonic seconds.
        self._next_due: float | None = None
        # Whether the last survey shows the queue as the worker's last deed left it.
        self._surveyed = False
        slots = terms.capacity.slots
        # Whether there are so many that both sides can work at once, each on a part of them.
        self._overlapping = slots >= _STAGES * _MANY
        self._most_claims = min(_MOST_CLAIMS, slots // _STAGES if self._overlapping else slots)
        self._prefetch = Prefetch(slots // 2)
        self._appetite = Appetite()

    @property
    def holding(self) -> int:
        """How many orders of this queue the worker holds."""
        return len(self._ledger)

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self._queue.name

    @property
    def name(self) -> str:
        """The name under which orders of this queue are held now."""
        return self._ledger.worker

    def look(self) -> None:
        """Make a trip now, as if something had rung."""
        self._ring(Rung())

    def nudge(self) -> None:
        """There may be something to say: see whether there is."""
        self._nudged.set()

    def quiet(self) -> None:
        """Claim no more, and give back what has not begun."""
        if not self._quiet:
            asyncio.get_running_loop().call_later(_LAST_PATIENCE, self._lose_patience)
        self._quiet = True
        self._ring(Rung())

    def abort(self) -> None:
        """Cut short what is under way, and what starts from here on; it is requeued."""
        self._aborted = True
        self._terms.executor.abort(self._ledger.underway())

    async def run(self) -> None:
        """Talk until the worker is quiet and holds nothing any more."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None) as self._patience:
                        while not self._quiet or self._ledger or self._unsure:
                            await self._silence()
                            await self._talk()
                        await self._leave()
                if not self._ledger:
                    return
                # It was answered just when it lost patience, and cut off in what it said then.
                self._unsure = True
                self._lose_patience()
        finally:
            self._patience = None  # there may be other conversations that go on
            await self._doorbell.close()
            await self._queue.close()

    def _lose_patience(self) -> None:
        """End without a word where nothing is held: what a lost trip claimed has not begun."""
        loop = asyncio.get_running_loop()
        if self._ledger:
            loop.call_later(_LAST_PATIENCE, self._lose_patience)
        elif self._patience is not None and not self._patience.expired():
            self._patience.reschedule(loop.time())

    # --- when to talk -------------------------------------------------------------------------

    async def _silence(self) -> None:
        """Return when there is something to say."""
        if self._something_to_say():
            return
        self._catch_up()
        began = time.monotonic()
        try:
            while not self._something_to_say():
                self._nudged.clear()
                if self._listens():
                    await self._stand_by()
                    self._doorbell.listen()
                # A trip that stood by may have been made since. It says that the worker is alive,
                # but doesn't look at the leases of others.
                until = self._silent_until(max(began, self._talked_at) if self._ledger else began)
                async with asyncio.timeout(until - time.monotonic()):
                    await self._nudged.wait()
        except TimeoutError:
            return

    async def _stand_by(self) -> None:
        """Let Redis itself make the next trip when an order comes, while there is nothing to do."""
        idle = self._terms.alone and not (self._ledger or self._terms.guard.is_open)
        if idle and not (self._standing and self._ledger.is_next(self._standing)):
            self._standing = self._ledger.compose(claim=1, standing=True)
            await self._queue.stand_by(self._standing)

    def _something_to_say(self) -> bool:
        if self._urgent or self._unsure or self._ledger.has_news:
            return True
        return self._last.backlog and self._room() > 0

    def _ring(self, rung: Rung) -> None:
        if rung.trip and rung.reply and self._may_take(rung.trip, rung.reply):
            # An order waits to be started; what is to be told can wait until it is.
            self._tell.defer()
            self._absorb(rung.trip, rung.reply)
            self._catch_up()
        else:
            self._urgent = True
            self._unsure = self._unsure or (rung.trip is not None and rung.reply is None)
        self.nudge()

    def _woken(self) -> None:
        """Look soon, at a moment of its own: others are woken, too."""
        if self._listens() or self._last.paused:
            jitter = random.uniform(0.001, _WAKE_JITTER)
            asyncio.get_running_loop().call_later(jitter, self._ring, Rung())

    def _may_take(self, trip: Trip, reply: Reply) -> bool:
        """Whether a trip that stood by is the last that was made, and was made just now.

        Who was stopped meanwhile may find a reply whose orders are others' by now: it asks first.
        """
        late = time.monotonic() - self._talked_at - (reply.now - self._last.now) / 1000
        is_last = self._ledger.is_next(trip) and not self._talking
        return is_last and late < self._terms.lease / 3

    def _listens(self) -> bool:
        """Whether an order that comes is to wake this worker.

        With several queues also where there is no room for it: until the queue is known to wait
        for room, nothing is asked of it, and nothing that others do concerns it.
        """
        if self._terms.alone:
            return self._room() > 0
        return not (self._quiet or self._last.backlog or self._last.paused)

    def _room(self) -> int:
        """For how many more orders there is room, were they there."""
        if self._quiet or self._last.paused:
            return 0
        self._terms.guard.look()
        return self._capacity.claimable(self._rank)

    def _silent_until(self, since: float) -> float:
        """When the next trip is made, should nothing happen before. Monotonic seconds."""
        return next_exchange_at(
            now=time.monotonic(),
            since=since,
            last=self._talked_at,
            due=self._next_due,
            lease=self._terms.lease,
            holds=bool(self._ledger),
            listens=self._listens(),
            settled=self._surveyed,
            jitter=random.random(),
        )

    # --- one trip -----------------------------------------------------------------------------

    async def _talk(self) -> None:
        self._talking = True
        try:
            await self._say()
        finally:
            self._talking = False

    async def _say(self) -> None:
        try:
            if self._unsure:
                self._catch_up()
                await self._make_sure()
            trip, sent_at = self._compose(), time.monotonic()
            reply = await self._exchange(trip)
        except QueueUnavailable as unavailable:
            self._catch_up()
            await self._lost(unavailable)
            return
        self._outage.end()
        if time.monotonic() - (reply.renewed_at or sent_at) > self._terms.lease:
            # Who was stopped meanwhile asks first: what it may begin is others' by now.
            self._unsure = True
            self._appetite.lost()
            return
        if reply.claimed:
            self._appetite.arrived(time.monotonic() - sent_at)
        self._keep_pace(trip.outcomes, sent_at)
        self._absorb(trip, reply)

    async def _exchange(self, trip: Trip) -> Reply:
        """Send a trip, work off the last reply while Redis is at work, and receive the next."""
        try:
            answer = await self._queue.send(trip)
            self._catch_up()
            try:
                return await answer
            except QueueUnavailable:
                self._unsure = True
                self._appetite.lost()
                raise
        finally:
            self._capacity.unreserve(self._rank, trip.claim)

    async def _make_sure(self) -> None:
        """Learn whether the trip whose reply was lost took place."""
        delay_ms = self._appetite.delay_ms(round(1000 * self._terms.lease))
        ledger = self._ledger
        number, known = ledger.number_question(), ledger.deliveries
        holdings = await self._queue.holdings(ledger.worker, number, known, delay_ms)
        if holdings.lease_lost:
            self._lose()
        elif not holdings.stale:
            self._terms.executor.discard(self._ledger.reconcile(holdings))
        self._unsure = False

    def _compose(self) -> Trip:
        self._urgent = False
        if self._quiet:
            self._ledger.requeue_unbegun()
        claim = self._capacity.reserve(self._rank, self._most_claims) if self._room() else 0
        now = time.monotonic()
        settling = not (self._surveyed or self._ledger)
        survey = settling or now - self._surveyed_at >= HEARTBEAT * 0.9
        if survey:
            self._surveyed_at = now
        return self._ledger.compose(
            claim=claim,
            most_bytes=self._appetite.most_bytes,
            survey=survey,
            breaker_open=self._terms.guard.is_open,
        )

    def _keep_pace(self, outcomes: list[Outcome], sent_at: float) -> None:
        now = time.monotonic()
        if any(type(outcome) is Requeued for outcome in outcomes):
            self._prefetch.stop()
        else:
            self._prefetch.note(len(outcomes), now - self._talked_at, now - sent_at)
        self._capacity.set_prefetch(self._rank, self._prefetch.orders)

    def _absorb(self, trip: Trip, reply: Reply) -> None:
        self._last, self._talked_at = reply, time.monotonic()
        if not trip.standing:
            in_ms = None if reply.next_due is None else reply.next_due - reply.now
            self._next_due = None if in_ms is None else self._talked_at + in_ms / 1000
        deeds = trip.outcomes or reply.claimed or reply.recovered or reply.oversized
        self._surveyed = bool(reply.survey) or (self._surveyed and not deeds)
        # Where nothing was done, the reply tells nothing of the queue: the next trip comes at once.
        # So it does where something rang while this one was under way.
        self._urgent = self._urgent or reply.stale or reply.lease_lost
        if reply.stale:
            self._unsure = True
        elif reply.lease_lost:
            self._lose()
        else:
            self._ledger.note(trip, reply)
        claims = not (self._quiet or reply.paused)
        self._capacity.set_backlog(self._rank, reply.backlog and claims)
        self._terms.capacity_freed()
        if not self._is_large(reply):
            self._catch_up()

    def _is_large(self, reply: Reply) -> bool:
        return self._overlapping and len(reply.claimed) + len(reply.verdicts) >= _MANY

    def _catch_up(self) -> None:
        """Work off the last reply: at once, or while the next trip is on its way."""
        cleared = self._ledger.catch_up()
        if self._aborted:
            self._terms.executor.abort(cleared)
        else:
            self._terms.executor.start(cleared)

    def attempt_ended(self, delivery: Delivery, result: Result) -> None:
        """See Owner."""
        self._ledger.end(delivery, result)
        self._terms.guard.attempt_ended(result)
        self._terms.capacity_freed()
        self.nudge()

    async def _leave(self) -> None:
        """The last trip: what woke this worker goes to another, and the queue forgets it."""
        self._catch_up()
        await self._doorbell.close()
        # Nothing is held, and a silent worker is forgotten in time.
        with contextlib.suppress(QueueUnavailable):
            await self._queue.exchange(self._ledger.farewell())

    # --- when it goes wrong -------------------------------------------------------------------

    def _lose(self) -> None:
        """Others have the orders now: stop working on them."""
        self._terms.executor.discard(self._ledger.lose())

    async def _lost(self, unavailable: QueueUnavailable) -> None:
        self._urgent = True
        self._capacity.set_backlog(self._rank, False)
        pause = self._outage.note(str(unavailable))
        await self._doorbell.close()
        await asyncio.sleep(pause)
