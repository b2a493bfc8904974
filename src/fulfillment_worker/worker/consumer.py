"""Consumes one queue: send an exchange, receive the reply, act on it; again.

Each exchange carries all that is ready: outcomes, requests to begin, the heartbeat, and how many
more orders the worker can take. While one is under way, what ends gathers for the next, so the
batch grows with the load by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable

import msgspec

from fulfillment_worker.core.cadence import Cadence
from fulfillment_worker.core.capacity import Capacity
from fulfillment_worker.core.exchange import (
    Exchange,
    Limited,
    Queue,
    QueueUnavailable,
    Reply,
    Wakeup,
)
from fulfillment_worker.core.fetch_size import FetchSize
from fulfillment_worker.core.outcome import Outcome, Requeued, Result
from fulfillment_worker.core.prefetch import Prefetch
from fulfillment_worker.worker.delivery import Delivery
from fulfillment_worker.worker.executor import Executor
from fulfillment_worker.worker.gate import Gate
from fulfillment_worker.worker.intake import OrderRules
from fulfillment_worker.worker.ledger import Emit, Ledger
from fulfillment_worker.worker.outage import Outage
from fulfillment_worker.worker.outbox import Outbox
from fulfillment_worker.worker.wakeups import Wakeups

_MOST_CLAIMS = 500
"""Orders claimed in one exchange, so that Redis is never busy with one worker for long."""
_MANY = 50
"""Orders in one reply, from which on the next exchange is sent first and the reply processed
then."""
_STAGES = 4
"""Exchanges that an order goes through when exchanges and work overlap: claimed, read, begun,
handled."""
_WAKE_JITTER = 0.05
"""Seconds within which all idle workers look when they are woken."""
_LAST_PATIENCE = 2.0
"""Seconds that a stopping worker which holds nothing waits for Redis: it has nothing to lose."""


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What all consumers of a worker share.

    lease: seconds. alone: whether there is one only. capacity_freed: wakes those that wait for it.
    """

    rules: OrderRules
    lease: float
    capacity: Capacity
    executor: Executor
    gate: Gate
    emit: Emit
    alone: bool
    capacity_freed: Callable[[], None]


class Consumer:
    """Keeps the orders of one queue flowing. rank: the queue's number in the capacity."""

    def __init__(self, queue: Queue, rank: int, shared: Shared) -> None:
        self._queue = queue
        self._rank = rank
        self._shared = shared
        self._capacity = shared.capacity
        self._outbox = Outbox(shared.emit)
        self._ledger = Ledger(queue.name, shared.rules, self._outbox, shared.capacity, self, rank)
        self._wakeups = Wakeups(queue, self._woken)
        self._outage = Outage(queue.name, shared.emit)
        self._cadence = Cadence(shared.lease)
        self._fetch_size = FetchSize()
        slots = shared.capacity.slots
        # Whether there are so many that both sides can work at once, each on a part of them.
        self._overlapping = slots >= _STAGES * _MANY
        self._most_claims = min(_MOST_CLAIMS, slots // _STAGES if self._overlapping else slots)
        self._prefetch = Prefetch(slots // 2)
        # What is asked of it: to stop claiming, to cut short what runs.
        self._stopping = self._aborting = False
        # Why the next exchange is made at once: something woke it; or it must ask Redis what it
        # holds, since nobody knows whether the last one took place.
        self._urgent = self._unsure = False
        self._exchanging = False
        self._nudged = asyncio.Event()
        self._standing: Exchange | None = None
        self._patience: asyncio.Timeout | None = None
        queue.on_wake(self._wake_soon)

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

    def wake(self) -> None:
        """Make an exchange now: there may be orders."""
        self._urgent = True
        self.nudge()

    def nudge(self) -> None:
        """See whether there is a reason for an exchange."""
        self._nudged.set()

    def quiet(self) -> None:
        """Claim no more, and give back what has not begun."""
        if not self._stopping:
            asyncio.get_running_loop().call_later(_LAST_PATIENCE, self._lose_patience)
        self._stopping = True
        self.wake()

    def abort(self) -> None:
        """Cut short what is under way, and what starts from here on; it is requeued."""
        self._aborting = True
        self._shared.executor.abort(self._ledger.underway())

    async def run(self) -> None:
        """Consume until the worker is quiet and holds nothing any more."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None) as self._patience:
                        while not self._stopping or self._ledger or self._unsure:
                            await self._wait()
                            await self._exchange()
                        await self._leave()
                if not self._ledger:
                    return
                # It was answered just when it lost patience, and cut off in what it said then.
                self._unsure = True
                self._lose_patience()
        finally:
            self._patience = None  # there may be other consumers that go on
            await self._wakeups.close()
            await self._queue.close()

    def _lose_patience(self) -> None:
        """End without a word where nothing is held: what a lost exchange claimed has not begun."""
        loop = asyncio.get_running_loop()
        if self._ledger:
            loop.call_later(_LAST_PATIENCE, self._lose_patience)
        elif self._patience is not None and not self._patience.expired():
            self._patience.reschedule(loop.time())

    # --- when to exchange ---------------------------------------------------------------------

    async def _wait(self) -> None:
        """Return when there is a reason for an exchange."""
        if self._has_reason():
            return
        self._process()
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            while not self._has_reason():
                self._nudged.clear()
                if self._listens():
                    await self._stand_by()
                    self._wakeups.listen()
                async with asyncio.timeout(self._next_at(began) - time.monotonic()):
                    await self._nudged.wait()

    def _has_reason(self) -> bool:
        if self._urgent or self._unsure or self._ledger.has_news:
            return True
        return self._cadence.last.backlog and self._claimable() > 0

    def _next_at(self, began: float) -> float:
        """When the next exchange is made, should nothing happen before. Monotonic seconds.

        began: when the wait did. One that stood by may have taken place since. It says that the
        worker is alive, but doesn't look at the leases of others.
        """
        holds = bool(self._ledger)
        since = max(began, self._cadence.heard_at) if holds else began
        return self._cadence.next_at(
            time.monotonic(), since, holds=holds, listens=self._listens(), jitter=random.random()
        )

    async def _stand_by(self) -> None:
        """Let Redis make the next exchange by itself when an order comes, while nothing is held."""
        idle = self._shared.alone and not (self._ledger or self._shared.gate.is_open)
        if idle and not (self._standing and self._ledger.is_next(self._standing)):
            self._standing = self._ledger.compose(claim=1, standing=True)
            await self._queue.stand_by(self._standing)

    def _woken(self, wakeup: Wakeup) -> None:
        """An order has come, or Redis can't be asked."""
        if wakeup.exchange and wakeup.reply and self._may_take(wakeup.exchange, wakeup.reply):
            # An order waits to be started; what is to be told can wait until it is.
            self._outbox.defer()
            self._take(wakeup.exchange, wakeup.reply)
            self._process()
            self.nudge()
        else:
            self._unsure = self._unsure or (wakeup.exchange is not None and wakeup.reply is None)
            self.wake()

    def _wake_soon(self) -> None:
        """Look soon, at a moment of its own: others are woken, too."""
        if self._listens() or self._cadence.is_held_up:
            jitter = random.uniform(0.001, _WAKE_JITTER)
            asyncio.get_running_loop().call_later(jitter, self.wake)

    def _may_take(self, exchange: Exchange, reply: Reply) -> bool:
        """Whether an exchange that stood by is the last that was made, and was made just now.

        A worker that was stopped since then may find a reply whose orders are others' by now: it
        asks first.
        """
        cadence = self._cadence
        late = time.monotonic() - cadence.heard_at - (reply.now - cadence.last.now) / 1000
        is_last = self._ledger.is_next(exchange) and not self._exchanging
        return is_last and late < self._shared.lease / 3

    def _listens(self) -> bool:
        """Whether an order that comes is to wake this worker.

        With several queues also where it couldn't be claimed: until the queue is known to have a
        backlog, nothing is asked of it, and nothing that others do concerns it.
        """
        if self._cadence.is_held_up:
            return False
        if self._shared.alone:
            return self._claimable() > 0
        return not (self._stopping or self._cadence.last.backlog)

    def _claimable(self) -> int:
        """How many more orders could be claimed now, were they there."""
        if self._stopping or self._cadence.last.paused:
            return 0
        self._shared.gate.look()
        return self._capacity.claimable(self._rank)

    # --- one exchange -------------------------------------------------------------------------

    async def _exchange(self) -> None:
        self._exchanging = True
        try:
            if self._unsure:
                self._process()
                await self._make_sure()
            exchange, sent_at = self._compose(), time.monotonic()
            reply = await self._send_and_receive(exchange)
        except QueueUnavailable as unavailable:
            self._process()
            await self._lost(unavailable)
            return
        finally:
            self._exchanging = False
        self._outage.end()
        now = time.monotonic()
        if now - (reply.renewed_at or sent_at) > self._shared.lease:
            # The worker was stopped meanwhile, and asks first: what it may begin is others' by now.
            self._unsure = True
            self._fetch_size.lost()
            return
        if reply.claimed:
            self._fetch_size.arrived(now - sent_at)
        self._keep_pace(exchange.outcomes, sent_at, now)
        self._take(exchange, reply)

    def _compose(self) -> Exchange:
        self._urgent = False
        if self._stopping:
            self._ledger.requeue_unbegun()
        claim = self._capacity.reserve(self._rank, self._most_claims) if self._claimable() else 0
        return self._ledger.compose(
            claim=claim,
            most_bytes=self._fetch_size.most_bytes,
            survey=self._cadence.ask_survey(time.monotonic(), holds=bool(self._ledger)),
            breaker_open=self._shared.gate.is_open,
        )

    async def _send_and_receive(self, exchange: Exchange) -> Reply:
        """Process the last reply while Redis is at work on this exchange."""
        try:
            answer = await self._queue.send(exchange)
            self._process()
            try:
                return await answer
            except QueueUnavailable:
                self._unsure = True
                self._fetch_size.lost()
                raise
        finally:
            self._capacity.unreserve(self._rank, exchange.claim)

    async def _make_sure(self) -> None:
        """Learn whether the exchange whose reply was lost took place."""
        delay_ms = self._fetch_size.delay_ms(round(1000 * self._shared.lease))
        ledger = self._ledger
        number, known = ledger.number_question(), ledger.deliveries
        holdings = await self._queue.holdings(ledger.worker, number, known, delay_ms)
        if holdings.lease_lost:
            self._lose()
        elif not holdings.stale:
            self._shared.executor.discard(ledger.reconcile(holdings))
        self._unsure = False

    def _keep_pace(self, outcomes: list[Outcome], sent_at: float, now: float) -> None:
        is_limited = self._cadence.last.limited is not Limited.NO
        if is_limited or any(type(outcome) is Requeued for outcome in outcomes):
            self._prefetch.stop()
        else:
            self._prefetch.note(len(outcomes), now - self._cadence.heard_at, now - sent_at)
        self._capacity.set_prefetch(self._rank, self._prefetch.orders)

    def _take(self, exchange: Exchange, reply: Reply) -> None:
        """Take from a reply what the next exchange must know; process the rest then, or now."""
        self._cadence.heard(exchange, reply, time.monotonic())
        # Where nothing was done, the reply tells nothing of the queue: the next exchange comes at
        # once. So it does where something woke the worker while this one was under way.
        self._urgent = self._urgent or reply.stale or reply.lease_lost
        if reply.stale:
            self._unsure = True
        elif reply.lease_lost:
            self._lose()
        else:
            self._ledger.note(exchange, reply)
            if reply.stops:
                self._shared.executor.withdraw(self._ledger.underway(), reply.stops)
        claims = not (self._stopping or reply.paused)
        self._capacity.set_backlog(self._rank, reply.backlog and claims)
        self._shared.capacity_freed()
        is_large = len(reply.claimed) + len(reply.verdicts) >= _MANY
        if not (self._overlapping and is_large):
            self._process()

    def _process(self) -> None:
        """Do the rest of the last reply: tell what it told, and start what may begin."""
        cleared = self._ledger.catch_up()
        if self._aborting:
            self._shared.executor.abort(cleared)
        else:
            self._shared.executor.start(cleared)

    def attempt_ended(self, delivery: Delivery, result: Result) -> None:
        """See Owner."""
        self._ledger.end(delivery, result)
        self._shared.gate.attempt_ended(result)
        self._shared.capacity_freed()
        self.nudge()

    async def _leave(self) -> None:
        """The last exchange: what woke this worker goes to another, and the queue forgets it."""
        self._process()
        await self._wakeups.close()
        # Nothing is held, and a silent worker is forgotten in time.
        with contextlib.suppress(QueueUnavailable):
            await self._queue.exchange(self._ledger.farewell())

    # --- when it goes wrong -------------------------------------------------------------------

    def _lose(self) -> None:
        """Others have the orders now: stop working on them."""
        self._shared.executor.discard(self._ledger.lose())

    async def _lost(self, unavailable: QueueUnavailable) -> None:
        self._urgent = True
        self._capacity.set_backlog(self._rank, False)
        pause = self._outage.note(str(unavailable))
        await self._wakeups.close()
        await asyncio.sleep(pause)
