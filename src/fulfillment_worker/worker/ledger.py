"""What this worker holds of one queue, and what it has to say about it in the next trip.

It does no I/O: it turns claims into requests to begin, results into outcomes, and replies into
events.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

import msgspec

from fulfillment_worker.core.decide import RetryPolicy, decide
from fulfillment_worker.core.decode import Decoded, Undecodable, decode
from fulfillment_worker.core.events import (
    Event,
    LeaseLost,
    OrderDuplicated,
    OrdersReceived,
    OrdersRecovered,
    OrdersRequeued,
    QueueRolledBack,
    QueueSurveyed,
)
from fulfillment_worker.core.exchange import (
    Begin,
    Claimed,
    Expected,
    Holdings,
    Reply,
    Trip,
    Verdict,
)
from fulfillment_worker.core.order import Order
from fulfillment_worker.core.outcome import Dead, DeadReason, Outcome, Requeued, Result
from fulfillment_worker.worker import report
from fulfillment_worker.worker.delivery import Delivery
from fulfillment_worker.worker.names import worker_name

Tell = Callable[[Event], None]


class OrderRules(msgspec.Struct, frozen=True, kw_only=True):
    """How entries are read and failures are retried. max_bytes: of one entry."""

    id_field: str
    max_bytes: int
    retry: RetryPolicy


class Ledger:
    """The deliveries of one queue: those that ask to begin, those under way, those that ended."""

    def __init__(self, queue: str, rules: OrderRules, tell: Tell) -> None:
        self.queue = queue
        self.worker = worker_name()
        self._generation = 0
        self._rules = rules
        self._tell = tell
        self._next_delivery = 1
        # By Redis's count, which never falls while its data is whole.
        self._received = 0
        self._suspects: set[int] = set()
        self._held: dict[int, Delivery] = {}
        # Both keep what a trip carries until its reply is there; what comes meanwhile is behind it.
        self._unbegun: list[Delivery] = []
        self._expected: Expected | None = None
        self._ended: list[Delivery] = []

    def __len__(self) -> int:
        """How many orders are held."""
        return len(self._held)

    @property
    def occupying(self) -> int:
        """How many slots are taken: an order frees its slot when it has ended."""
        return len(self._held) - len(self._ended)

    @property
    def deliveries(self) -> Collection[int]:
        """The ids of all deliveries that are held."""
        return self._held.keys()

    @property
    def has_news(self) -> bool:
        """Whether the queue is to be told something now."""
        return bool(self._unbegun or self._ended)

    def underway(self) -> list[Delivery]:
        """What has begun and not ended."""
        elsewhere = {delivery.id for delivery in (*self._unbegun, *self._ended)}
        return [held for held in self._held.values() if held.id not in elsewhere]

    def compose(self, *, claim: int, survey: bool, breaker_open: bool = False) -> Trip:
        """The next trip: all that is ready, and room for `claim` more."""
        expected, self._expected = self._expected, None
        first_delivery, self._next_delivery = self._next_delivery, self._next_delivery + claim
        return Trip(
            worker=self.worker,
            generation=self._generation,
            holding=len(self._held),
            outcomes=[held.outcome for held in self._ended if held.outcome],
            begins=[_begin(held, held.order) for held in self._unbegun if held.order],
            expected=expected,
            claim=claim,
            first_delivery=first_delivery,
            suspects=len(self._suspects),
            breaker_open=breaker_open,
            survey=survey,
        )

    def expect(self, raw: bytes) -> None:
        """These bytes are about to be claimed: let the order begin in the same trip."""
        read = self._read(raw)
        if isinstance(read, Decoded):
            unix = read.enqueued_unix
            queued_at = 0 if unix is None else round(unix * 1000)
            self._expected = Expected(raw.decode(), read.id, 1, queued_at)

    def farewell(self) -> Trip:
        """The last trip, when nothing is held any more."""
        return Trip(worker=self.worker, generation=self._generation, leaving=True)

    def absorb(self, trip: Trip, reply: Reply) -> list[Delivery]:
        """Act on a reply; returns the deliveries whose attempt starts now."""
        self._record(len(trip.outcomes), set(reply.refused), reply.now)
        many = len(reply.verdicts)
        asked, self._unbegun = self._unbegun[:many], self._unbegun[many:]
        cleared = self._hear(asked, reply.verdicts, reply.now)
        if reply.first_claims:
            self._tell(OrdersReceived(self.queue, reply.first_claims))
        if reply.recovered:
            self._tell(OrdersRecovered(self.queue, reply.recovered, reply.orphaned))
        if reply.survey:
            self._tell(QueueSurveyed(self.queue, reply.survey))
            if reply.survey.received < self._received:
                self._tell(QueueRolledBack(self.queue, self._received, reply.survey.received))
            self._received = reply.survey.received
        for claimed in reply.claimed:
            self._hold(claimed)
        if reply.begun:
            delivery = self._held[reply.begun[0]]
            self._unbegun.remove(delivery)
            cleared += self._hear([delivery], [reply.begun[1]], reply.now)
        return cleared

    def end(self, delivery: Delivery, result: Result) -> None:
        """An attempt ended so."""
        order = delivery.order
        assert order is not None
        delivery.result = result
        outcome = decide(
            delivery.id, order.id, order.attempt, result, self._rules.retry, random.random()
        )
        self._end(delivery, outcome)

    def requeue_unbegun(self) -> None:
        """Give back what has not begun. Not while a trip is under way: it may carry these."""
        for delivery in self._unbegun:
            self._end(delivery, Requeued(delivery.id, "", delivery.attempt))
        self._unbegun.clear()

    def reconcile(self, holdings: Holdings) -> list[Delivery]:
        """A reply was lost: take from the queue what is true.

        What ended and is not in flight any more was recorded. What asked to begin and is not in
        flight any more was a duplicate, or another copy was busy. What is in flight and not known
        here was claimed by the lost trip. What is under way and not in flight, Redis has forgotten:
        it came back with an older state; returns these, to be stopped.
        """
        self._generation = holdings.generation
        in_flight = holdings.deliveries
        forgotten = [held for held in self.underway() if held.id not in in_flight]
        for delivery in forgotten:
            self._drop(delivery)
            self._tell_ended(delivery, holdings.now, kept=False)
        recorded = [held for held in self._ended if held.id not in in_flight]
        self._ended = [held for held in self._ended if held.id in in_flight]
        self._close(recorded, frozenset(), holdings.now)
        for delivery in [held for held in self._unbegun if held.id not in in_flight]:
            self._unbegun.remove(delivery)
            self._drop(delivery)
        first = sum(not (claimed.failures or claimed.orphanings) for claimed in holdings.unknown)
        if first:
            self._tell(OrdersReceived(self.queue, first))
        for claimed in holdings.unknown:
            self._hold(claimed)
        return forgotten

    def lose(self, now: int) -> list[Delivery]:
        """The lease ran out: everything held is others' now. Returns what was under way."""
        underway = self.underway()
        self._tell(LeaseLost(self.queue, self.worker, len(self._held)))
        for delivery in (*self._ended, *underway):
            if delivery.started:
                self._tell_ended(delivery, now, kept=False)
        self._held.clear()
        self._unbegun.clear()
        self._ended.clear()
        self._suspects.clear()
        self.worker, self._generation = worker_name(), 0
        return underway

    def _record(self, sent: int, refused: set[int], now: int) -> None:
        recorded, self._ended = self._ended[:sent], self._ended[sent:]
        self._close(recorded, refused, now)

    def _close(
        self, recorded: list[Delivery], refused: set[int] | frozenset[int], now: int
    ) -> None:
        requeued = 0
        for delivery in recorded:
            self._drop(delivery)
            requeued += isinstance(delivery.outcome, Requeued)
            self._tell_ended(delivery, now, kept=delivery.id not in refused)
        if requeued:
            self._tell(OrdersRequeued(self.queue, self.worker, requeued))

    def _tell_ended(self, delivery: Delivery, now: int, *, kept: bool) -> None:
        event = report.ended(self.queue, self.worker, delivery, now, kept=kept)
        if event:
            self._tell(event)

    def _hear(self, asked: list[Delivery], verdicts: list[Verdict], now: int) -> list[Delivery]:
        """Those that may start; the others are gone."""
        cleared = []
        for delivery, verdict in zip(asked, verdicts, strict=True):
            if verdict is Verdict.GO:
                cleared.append(delivery)
                event = report.started(self.queue, delivery, now)
                if event:
                    self._tell(event)
                continue
            self._drop(delivery)
            if verdict is Verdict.DUPLICATE and delivery.order:
                self._tell(OrderDuplicated(self.queue, delivery.order.id))
        return cleared

    def _hold(self, claimed: Claimed) -> None:
        delivery = Delivery(claimed)
        self._held[claimed.delivery] = delivery
        if claimed.last_chance:
            self._suspects.add(claimed.delivery)
        read = self._read(claimed.raw)
        if isinstance(read, Undecodable):
            self._end(delivery, Dead(claimed.delivery, "", 0, read.why, DeadReason.INVALID))
            return
        delivery.order = Order(
            id=read.id,
            attempt=delivery.attempt,
            body=read.body,
            raw=claimed.raw,
            queue=self.queue,
            enqueued_unix=read.enqueued_unix,
            traceparent=read.traceparent,
            tracestate=read.tracestate,
        )
        self._unbegun.append(delivery)

    def _read(self, raw: bytes) -> Decoded | Undecodable:
        return decode(raw, id_field=self._rules.id_field, max_bytes=self._rules.max_bytes)

    def _drop(self, delivery: Delivery) -> None:
        del self._held[delivery.id]
        self._suspects.discard(delivery.id)

    def _end(self, delivery: Delivery, outcome: Outcome) -> None:
        delivery.outcome = outcome
        self._ended.append(delivery)
        # By the time that the trip claims, it is in flight no more.
        self._suspects.discard(delivery.id)


def _begin(delivery: Delivery, order: Order) -> Begin:
    queued_at = delivery.claimed.first_seen
    if order.enqueued_unix is not None:
        queued_at = round(order.enqueued_unix * 1000)
    return Begin(delivery.id, order.id, order.attempt, queued_at)
