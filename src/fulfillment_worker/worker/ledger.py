"""What this worker holds of one queue, and what it has to say about it in the next exchange.

It does no I/O: it turns claims into requests to begin, results into outcomes, and replies into
events.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from fulfillment_worker.core.capacity import Capacity
from fulfillment_worker.core.decide import decide
from fulfillment_worker.core.events import (
    Event,
    LeaseLost,
    OrdersRecovered,
    OrdersRequeued,
    QueueRolledBack,
    QueueSurveyed,
)
from fulfillment_worker.core.exchange import (
    MOST_BYTES,
    Claimed,
    Exchange,
    Holdings,
    Reply,
    Survey,
    Verdict,
)
from fulfillment_worker.core.outcome import (
    SUCCEEDED,
    Dead,
    DeadReason,
    Fulfilled,
    Outcome,
    Requeued,
    Result,
    Stopped,
    Withdrawal,
)
from fulfillment_worker.worker import report
from fulfillment_worker.worker.delivery import ENDED, GONE, READY, Delivery, Owner, ask, first_of
from fulfillment_worker.worker.intake import OrderRules, check_times, take_in
from fulfillment_worker.worker.names import worker_name

Emit = Callable[[Event], None]


class Ledger:
    """The deliveries of one queue, each with its stage, and what they take of the capacity.

    owner: theirs. rank: the queue's number in the capacity.

    A reply is taken in two steps. `note` does what the next exchange must know, and is quick.
    `catch_up` does the rest (telling, reading the orders), maybe while the next exchange is under
    way.
    """

    def __init__(
        self,
        queue: str,
        rules: OrderRules,
        emit: Emit,
        capacity: Capacity,
        owner: Owner,
        rank: int = 0,
    ) -> None:
        self.queue = queue
        self._capacity = capacity
        self._owner = owner
        self._rank = rank
        self.worker = worker_name()
        # Of the last exchange whose reply was heard, or as the queue told.
        self._exchanges = 0
        # Of the last question what is held.
        self._asked = 0
        self._rules = rules
        self._emit = emit
        self._next_delivery = 1
        # By Redis's count, which never falls while its data is whole.
        self._received = 0
        # How many that have not ended are on their last chance.
        self._suspects = 0
        # Whether any ever came with the id under which an earlier attempt had begun.
        self._any_known = False
        self._held: dict[int, Delivery] = {}
        # What the next exchanges carry of them: those that are ASKING, and those that have ENDED.
        # What one carries stays until its reply is there, and what is added meanwhile is behind it.
        self._asking: list[Delivery] = []
        self._ended: list[Delivery] = []
        # Of orders that ended without success since all that had ended was sent.
        self._moving_bytes = 0
        self._noted: _Noted | None = None

    def __len__(self) -> int:
        """How many orders are held."""
        return len(self._held) + self._unread

    @property
    def _unread(self) -> int:
        """How many the noted reply has put into this worker's hands."""
        return len(self._noted.reply.claimed) if self._noted else 0

    @property
    def deliveries(self) -> Collection[int]:
        """The ids of all deliveries that are held and known."""
        return self._held.keys()

    @property
    def has_news(self) -> bool:
        """Whether the queue is to be told something now."""
        return bool(self._asking or self._ended)

    def underway(self) -> list[Delivery]:
        """What has begun and not ended."""
        return [held for held in self._held.values() if held.is_underway]

    def is_next(self, exchange: Exchange) -> bool:
        """Whether it is the exchange that the queue expects, as far as is known here."""
        return (exchange.worker, exchange.number) == (self.worker, self._exchanges + 1)

    def compose(
        self,
        *,
        claim: int,
        most_bytes: int = MOST_BYTES,
        survey: bool = False,
        breaker_open: bool = False,
        standing: bool = False,
    ) -> Exchange:
        """The next exchange: all that is ready, and room for `claim` more."""
        first_delivery, self._next_delivery = self._next_delivery, self._next_delivery + claim
        ended = self._to_record()
        outcomes = [held.outcome or self._decide(held) for held in ended]
        return Exchange(
            worker=self.worker,
            number=self._exchanges + 1,
            holding=len(self),
            forget=_forgettable(ended) if self._any_known else [],
            outcomes=outcomes,
            begins=[ask(held, held.order) for held in self._asking if held.order],
            claim=claim,
            most_bytes=most_bytes,
            first_delivery=first_delivery,
            suspects=self._suspects,
            breaker_open=breaker_open,
            survey=survey,
            standing=standing,
        )

    def number_question(self) -> int:
        """Of the next question what is held: higher than of all that may still be under way."""
        self._asked = max(self._exchanges + 1, self._asked) + 1
        return self._asked

    def farewell(self) -> Exchange:
        """The last exchange, when nothing is held any more."""
        return Exchange(worker=self.worker, number=self._exchanges + 1, leaving=True)

    def note(self, exchange: Exchange, reply: Reply) -> None:
        """Take from a reply what the next exchange must know."""
        sent, asked = len(exchange.outcomes), len(exchange.begins)
        recorded, self._ended = self._ended[:sent], self._ended[sent:]
        answered, self._asking = self._asking[:asked], self._asking[asked:]
        self._exchanges = exchange.number
        for delivery in recorded:
            del self._held[delivery.id]
        self._capacity.recorded(sent)
        self._capacity.claimed(self._rank, len(reply.claimed))
        if reply.limited or reply.first_claims < len(reply.claimed):
            self._suspects += sum(each.last_chance for each in reply.claimed)
        self._noted = _Noted(reply, recorded, self._hear(answered, reply.verdicts))

    def catch_up(self) -> list[Delivery]:
        """Do the rest of what was noted; returns the deliveries whose attempt starts now."""
        if self._noted is None:
            return []
        noted, self._noted = self._noted, None
        reply, cleared = noted.reply, noted.cleared
        self._emit_recorded(noted.recorded, reply.now, reply.obeyed)
        self._emit_received(reply.first_claims, reply.oversized)
        if reply.recovered:
            self._emit(OrdersRecovered(self.queue, reply.recovered, reply.orphaned))
        if reply.survey:
            self._take_survey(reply.survey)
        for claimed in reply.claimed:
            delivery = self._hold(claimed, reply.now)
            if delivery.stage is READY:
                cleared.append(delivery)
        started = report.started(self.queue, cleared, reply.now)
        if started:
            self._emit(started)
        return cleared

    def end(self, delivery: Delivery, result: Result) -> None:
        """An attempt ended so. What becomes of the order is decided in the next exchange."""
        delivery.result = result
        if delivery.stage is READY:
            self._capacity.given_up(self._rank)
        else:
            self._capacity.ended(self._rank)
        self._add_ended(delivery)

    def requeue_unbegun(self) -> None:
        """Give back what has not begun. Not while an exchange is under way: it may carry these."""
        for delivery in self._asking:
            self._give_up(delivery, Requeued(delivery.id, "", delivery.attempt))
        self._asking.clear()

    def reconcile(self, holdings: Holdings) -> list[Delivery]:
        """A reply was lost: take from the queue what is true. To be called when caught up.

        What ended and is not in flight any more was recorded. What asked to begin and is not in
        flight any more was a duplicate, or another copy was busy. What is in flight and not known
        here was claimed by the lost exchange. What is under way and not in flight, Redis has
        forgotten: it came back with an older state; returns these, to be stopped.
        """
        self._exchanges = holdings.number
        in_flight = holdings.deliveries
        gone = [held for held in self._held.values() if held.id not in in_flight]
        recorded = [held for held in self._ended if held.id not in in_flight]
        forgotten = [held for held in gone if held.is_underway]
        self._ended = [held for held in self._ended if held.id in in_flight]
        self._asking = [held for held in self._asking if held.id in in_flight]
        self._forget(gone)
        for delivery in forgotten:
            if delivery.started:
                self._emit_failed(delivery, kept=False)
        stopped = ((held.id, held.result) for held in recorded)
        likely = {number: why.becomes for number, why in stopped if isinstance(why, Stopped)}
        self._emit_recorded(recorded, holdings.now, likely)
        first = sum(not (claimed.failures or claimed.orphanings) for claimed in holdings.unknown)
        self._emit_received(first + holdings.first_claims)
        if holdings.given_back:
            self._emit(OrdersRequeued(self.queue, self.worker, holdings.given_back))
        self._capacity.claimed(self._rank, len(holdings.unknown))
        self._suspects += sum(claimed.last_chance for claimed in holdings.unknown)
        for claimed in holdings.unknown:
            self._hold(claimed, holdings.now)
        return forgotten

    def lose(self) -> list[Delivery]:
        """The lease ran out: everything held is others' now. Returns what was under way.

        To be called when caught up.
        """
        underway = self.underway()
        self._emit(LeaseLost(self.queue, self.worker, len(self._held)))
        for delivery in (*self._ended, *underway):
            if delivery.started:
                self._emit_failed(delivery, kept=False)
        self._forget(list(self._held.values()))
        self._asking.clear()
        self._ended.clear()
        self.worker, self._exchanges, self._asked = worker_name(), 0, 0
        return underway

    def _to_record(self) -> list[Delivery]:
        """What ended, as far as one exchange may carry it."""
        fits = self._moving_bytes <= MOST_BYTES
        batch = self._ended if fits else first_of(self._ended, MOST_BYTES)
        if len(batch) == len(self._ended):
            self._moving_bytes = 0
        return batch

    def _decide(self, delivery: Delivery) -> Outcome:
        order, result = delivery.order, delivery.result
        assert order is not None
        assert result is not None
        if result is SUCCEEDED:
            # Nearly always: the shortest way to what `decide` says of it.
            outcome: Outcome = Fulfilled(delivery.id, order.id, order.attempt)
        else:
            retry, jitter = self._rules.retry, random.random()
            outcome = decide(delivery.id, order.id, order.attempt, result, retry, jitter)
            if lost := report.note_lost(self.queue, order.id, result):
                self._emit(lost)
        delivery.outcome = outcome
        return outcome

    def _emit_recorded(
        self, recorded: list[Delivery], now: int, obeyed: Mapping[int, Withdrawal]
    ) -> None:
        for event in report.recorded(self.queue, self.worker, recorded, now, obeyed):
            self._emit(event)

    def _emit_received(self, first_claims: int, oversized: Sequence[int] = ()) -> None:
        most = self._rules.max_bytes
        for event in report.received(self.queue, self.worker, first_claims, oversized, most):
            self._emit(event)

    def _emit_failed(self, delivery: Delivery, *, kept: bool) -> None:
        event = report.failed(self.queue, self.worker, delivery, kept=kept)
        if event:
            self._emit(event)

    def _take_survey(self, survey: Survey) -> None:
        self._emit(QueueSurveyed(self.queue, survey))
        if survey.received < self._received:
            self._emit(QueueRolledBack(self.queue, self._received, survey.received))
        self._received = survey.received

    def _hear(self, asked: list[Delivery], verdicts: list[Verdict]) -> list[Delivery]:
        """Those that may start; the others are gone."""
        if self._rules.times is None and verdicts.count(Verdict.GO) == len(asked):
            for delivery in asked:
                delivery.stage = READY
            return asked
        cleared = []
        for delivery, verdict in zip(asked, verdicts, strict=True):
            if verdict is Verdict.GO:
                if not delivery.too_late:
                    delivery.stage = READY
                    cleared.append(delivery)
                else:
                    self._expire(delivery)
                continue
            self._forget((delivery,))
            event = report.kept_back(self.queue, self.worker, delivery, verdict)
            if event:
                self._emit(event)
        return cleared

    def _hold(self, claimed: Claimed, now: int) -> Delivery:
        """now: Redis time in ms."""
        delivery = Delivery(claimed, self._owner)
        self._held[claimed.delivery] = delivery
        self._any_known = self._any_known or bool(claimed.order_id)
        taken, times = take_in(claimed, self._rules, self.queue), self._rules.times
        if isinstance(taken, Dead):
            self._give_up(delivery, taken)
            return delivery
        delivery.order = taken
        if claimed.begun:
            delivery.stage = READY
        elif times and (scheduled := check_times(delivery, taken, times, now)):
            self._give_up(delivery, scheduled)
        else:
            self._asking.append(delivery)
        return delivery

    def _expire(self, delivery: Delivery) -> None:
        assert delivery.order is not None
        failures, why = delivery.claimed.failures, delivery.too_late
        dead = Dead(delivery.id, delivery.order.id, failures, why, DeadReason.EXPIRED)
        self._give_up(delivery, dead)

    def _give_up(self, delivery: Delivery, outcome: Outcome) -> None:
        """It ends without an attempt."""
        delivery.outcome = outcome
        self._capacity.given_up(self._rank)
        self._add_ended(delivery)

    def _add_ended(self, delivery: Delivery) -> None:
        delivery.stage = ENDED
        self._ended.append(delivery)
        if delivery.result is not SUCCEEDED:
            self._moving_bytes += delivery.moved_bytes
        # By the time that the exchange claims, it is in flight no more.
        if delivery.claimed.last_chance:
            self._suspects -= 1

    def _forget(self, deliveries: Iterable[Delivery]) -> None:
        """They are not this worker's any more. Who stops those under way sets their stage."""
        ended = 0
        for delivery in deliveries:
            del self._held[delivery.id]
            if delivery.stage is ENDED:
                ended += 1
            else:
                self._capacity.dropped(self._rank)
                self._suspects -= delivery.claimed.last_chance
            if not delivery.is_underway:
                delivery.stage = GONE
        self._capacity.recorded(ended)


def _forgettable(ended: list[Delivery]) -> list[int]:
    return [held.id for held in ended if held.claimed.order_id and type(held.outcome) is Fulfilled]


class _Noted(NamedTuple):
    """What `note` leaves to `catch_up`."""

    reply: Reply
    recorded: list[Delivery]
    cleared: list[Delivery]
