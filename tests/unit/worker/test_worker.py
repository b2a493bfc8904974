"""The worker against a queue in memory: the order's way, and what can break on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

import pytest

from fulfillment_worker import Order, Reject, Retry
from fulfillment_worker.core.breaker import BreakerCause, BreakerRules, BreakerState
from fulfillment_worker.core.decide import RetryPolicy
from fulfillment_worker.core.events import (
    AttemptEnded,
    BreakerChanged,
    LeaseLost,
    OrderDuplicated,
    OrderInvalid,
    OrdersReceived,
    OrdersRecovered,
    OrdersRequeued,
    QueueLost,
    QueueRegained,
    QueueRolledBack,
    QueueSurveyed,
)
from fulfillment_worker.core.exchange import (
    Exchange,
    Holdings,
    QueueUnavailable,
    Reply,
    Wakeup,
)
from fulfillment_worker.core.outcome import DeadReason, FailureReason
from fulfillment_worker.worker.intake import OrderRules
from tests.support.eventually import PATIENCE
from tests.support.memory_queue import MemoryQueue, Store
from tests.unit.worker.conftest import Shop


async def fulfil(order: Order) -> None:
    """Returning means fulfilled."""


class Gate:
    """A handler that waits until it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, order: Order) -> None:
        await self.opened.wait()


async def test_orders_are_fulfilled(shop: Shop) -> None:
    shop.place("A", "B", "C")
    shop.work(fulfil)
    await shop.until(lambda: shop.store.fulfilled == 3)
    assert shop.handled == ["A", "B", "C"]
    assert sum(event.count for event in shop.all(OrdersReceived)) == 3
    await shop.until(lambda: len(shop.all(AttemptEnded)) == 3)
    assert {event.reason for event in shop.all(AttemptEnded)} == {None}


async def test_an_order_wakes_an_idle_worker(shop: Shop) -> None:
    worker = shop.work(fulfil)
    await shop.until(lambda: shop.all(QueueRegained))
    shop.place("A")
    await shop.until(lambda: shop.store.fulfilled == 1)
    assert worker.running == 0


async def raise_retry(order: Order) -> None:
    raise Retry("carrier is down")


async def raise_error(order: Order) -> None:
    raise ValueError("oh")


async def leave(order: Order) -> None:
    raise SystemExit(3)


async def cancel_itself(order: Order) -> None:
    raise asyncio.CancelledError


async def hang(order: Order) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("handler", "reason", "error"),
    [
        (raise_retry, FailureReason.DEPENDENCY, "carrier is down"),
        (raise_error, FailureReason.HANDLER, "ValueError: oh"),
        (leave, FailureReason.HANDLER, "SystemExit: 3"),
        (cancel_itself, FailureReason.HANDLER, "CancelledError"),
        (hang, FailureReason.TIMEOUT, "no result within 0.01 s"),
    ],
)
async def test_failures_are_retried_and_then_dead(
    shop: Shop, handler: Callable[[Order], Awaitable[None]], reason: FailureReason, error: str
) -> None:
    shop.place("A")
    shop.work(handler, order_timeout=0.01)
    await shop.until(lambda: shop.store.dead)
    assert len(shop.handled) == 3
    await shop.until(lambda: len(shop.all(AttemptEnded)) == 3)
    first, _, last = shop.all(AttemptEnded)
    assert (first.reason, first.dead) == (reason, None)
    assert first.error.startswith(error)
    assert first.retry_in is not None
    assert (last.attempt, last.dead) == (3, DeadReason.ATTEMPTS_EXHAUSTED)


async def test_a_rejection_is_dead_at_once(shop: Shop) -> None:
    async def reject(order: Order) -> None:
        raise Reject("no such SKU")

    shop.place("A")
    shop.work(reject)
    await shop.until(lambda: shop.all(AttemptEnded))
    (ended,) = shop.all(AttemptEnded)
    assert (ended.dead, ended.error) == (DeadReason.REJECTED, "no such SKU")


async def test_rubbish_is_a_dead_letter_and_the_worker_goes_on(shop: Shop) -> None:
    for raw in (b"", b"rubbish", b"[]", b"x" * 2000):
        shop.store.push(raw)
    shop.place("A")
    shop.work(fulfil)
    await shop.until(lambda: len(shop.all(OrderInvalid)) == 4 and shop.store.fulfilled)
    assert shop.store.dead == [("invalid", raw) for raw in (b"", b"rubbish", b"[]", b"x" * 2000)]
    await shop.until(lambda: shop.all(AttemptEnded))
    assert len(shop.all(AttemptEnded)) == 1, "nothing was attempted at rubbish"


async def test_a_copy_of_a_fulfilled_order_is_not_handled(shop: Shop) -> None:
    shop.place("A", "A", "A")
    shop.work(fulfil)
    await shop.until(lambda: shop.store.duplicates == 2)
    assert shop.handled == ["A"]
    await shop.until(lambda: len(shop.all(OrderDuplicated)) == 2)


async def test_no_more_orders_than_slots_are_held(shop: Shop) -> None:
    gate = Gate()
    shop.place(*[f"{n}" for n in range(30)])
    worker = shop.work(gate, concurrency=4)
    await shop.until(lambda: worker.running == 4)
    assert worker.holding == 4
    assert len(shop.store.public) == 26
    gate.opened.set()
    await shop.until(lambda: shop.store.fulfilled == 30)


async def test_quiet_claims_no_more_and_lets_run(shop: Shop) -> None:
    gate = Gate()
    shop.place("A", "B")
    worker = shop.work(gate, concurrency=1)
    await shop.until(lambda: worker.running == 1)
    worker.quiet()
    gate.opened.set()
    await shop.finish(worker)
    assert shop.handled == ["A"]
    assert (shop.store.fulfilled, len(shop.store.public), worker.holding) == (1, 1, 0)


async def test_abort_requeues_at_no_cost(shop: Shop) -> None:
    """Invariant 4: an order that a shutdown interrupts loses nothing."""
    shop.place("A")
    worker = shop.work(hang)
    await shop.until(lambda: worker.running == 1)
    worker.quiet()
    worker.abort()
    await shop.finish(worker)
    ((_, entry),) = shop.store.retry.values()
    assert (entry.failures, entry.orphanings) == (0, 0)
    assert [event.count for event in shop.all(OrdersRequeued)] == [1]
    assert shop.all(AttemptEnded) == []


async def test_a_handler_that_will_not_stop_is_given_up(shop: Shop) -> None:
    async def stubborn(order: Order) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if shop.store.dead:
                    raise

    shop.place("A")
    shop.work(stubborn, order_timeout=0.01)
    await shop.until(lambda: shop.store.dead)
    for task in asyncio.all_tasks():
        if "stubborn" in repr(task) or "_attempt" in repr(task):
            task.cancel()


class Cut(MemoryQueue):
    """Loses the reply of one exchange: it takes place, and the worker never hears of it."""

    def __init__(self, store: Store, when: Callable[[Exchange], bool]) -> None:
        super().__init__(store)
        self._when = when
        self.asked: list[Holdings] = []

    async def _reply(self, exchange: Exchange) -> Reply:
        reply = await super()._reply(exchange)
        if not self.asked and self._when(exchange):
            raise QueueUnavailable("the line was cut")
        return reply

    async def holdings(
        self, worker: str, number: int, known: Collection[int], delay_ms: int = 0
    ) -> Holdings:
        self.asked.append(await super().holdings(worker, number, known, delay_ms))
        return self.asked[-1]


@pytest.mark.parametrize(
    "when",
    [
        lambda exchange: exchange.claim > 0,
        lambda exchange: bool(exchange.begins),
        lambda exchange: bool(exchange.outcomes),
    ],
    ids=["claim", "begin", "outcome"],
)
async def test_a_lost_reply_costs_nothing(shop: Shop, when: Callable[[Exchange], bool]) -> None:
    """Each order is handled once, and the books and the metrics agree."""
    ids = [f"A-{number}" for number in range(10)]  # of so many, none begins as it is claimed
    shop.place(*ids)
    queue = Cut(shop.store, when)
    shop.work(fulfil, queue)
    await shop.until(lambda: shop.store.fulfilled == 10 and len(shop.all(AttemptEnded)) == 10)
    assert sorted(shop.handled) == ids
    assert len(queue.asked) == 1
    assert sum(event.count for event in shop.all(OrdersReceived)) == 10
    assert shop.store.received == 10


async def test_answer_just_when_patience_is_lost_leaves_no_order_behind(shop: Shop) -> None:
    """What a lost exchange has claimed is given back, and no worker's end is held against it."""

    class Answering(Cut):
        answers = asyncio.Event()

        async def holdings(
            self, worker: str, number: int, known: Collection[int], delay_ms: int = 0
        ) -> Holdings:
            holdings = await super().holdings(worker, number, known, delay_ms)
            await self.answers.wait()
            return holdings

    ids = [f"A-{number}" for number in range(10)]
    shop.place(*ids)
    queue = Answering(shop.store, lambda exchange: exchange.claim > 0)
    worker = shop.work(fulfil, queue)
    async with asyncio.timeout(PATIENCE):
        while not queue.asked:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    worker.quiet()
    (consumer,) = worker._consumers
    queue.answers.set()
    consumer._lose_patience()
    await shop.finish(worker)
    assert worker.holding == 0
    assert not any(shop.store.in_flight.values())
    assert [entry.orphanings for _, entry in shop.store.retry.values()] == [0] * len(ids)


async def test_results_are_kept_while_the_queue_is_away(shop: Shop) -> None:
    gate = Gate()
    shop.place("A", "B")
    worker = shop.work(gate)
    await shop.until(lambda: worker.running == 2)
    shop.store.away = True
    gate.opened.set()
    await shop.until(lambda: shop.all(QueueLost))
    shop.place("C")
    assert worker.holding == 2
    shop.store.away = False
    await shop.until(lambda: shop.store.fulfilled == 3)
    assert shop.handled == ["A", "B", "C"]
    assert len(shop.all(QueueLost)) == 1, "told once, not at each attempt"


async def test_a_lost_lease_stops_the_work_and_is_counted(shop: Shop) -> None:
    """Invariant 2: what a worker without a lease did has no effect."""
    gate = Gate()
    shop.place("A")
    zombie = shop.work(gate)
    await shop.until(lambda: zombie.running == 1)
    shop.store.pass_time(shop.store.lease + 1)
    await shop.until(lambda: shop.all(LeaseLost))
    assert [event.reason for event in shop.all(AttemptEnded)] == [FailureReason.LEASE_LOST]
    gate.opened.set()
    await shop.until(lambda: shop.store.fulfilled == 1)
    assert [event.count for event in shop.all(OrdersRecovered)] == [1]
    assert shop.handled == ["A", "A"]


async def test_two_queues_are_served(shop: Shop) -> None:
    other = Store()
    for n in range(5):
        other.push(b'{"order_id": "other-%d"}' % n)
        shop.place(f"{n}")
    worker = shop.work(fulfil, concurrency=2)
    second = shop.work(fulfil, MemoryQueue(other, "returns"), concurrency=2)
    await shop.until(lambda: shop.store.fulfilled == 5 and other.fulfilled == 5)
    assert worker.holding == second.holding == 0


async def test_blocking_handlers_leave_the_conversation_its_turn(shop: Shop) -> None:
    """Started all in one turn of the loop, they would silence the worker for their sum."""
    queue = MemoryQueue(shop.store)
    exchanges_between: list[int] = []

    async def block(order: Order) -> None:
        exchanges_between.append(len(queue.exchanges))
        until = time.monotonic() + 0.06
        while time.monotonic() < until:
            pass

    shop.place(*[f"{n}" for n in range(10)])
    shop.work(block, queue)
    await shop.until(lambda: shop.store.fulfilled == 10)
    assert exchanges_between[-1] - exchanges_between[0] >= 3


async def test_an_outage_of_the_dependency_leaves_the_backlog_in_the_queue(shop: Shop) -> None:
    """No order is dead, and but for the first ones and the probes no attempt was spent."""
    up = asyncio.Event()

    async def ship(order: Order) -> None:
        if not up.is_set():
            raise Retry("the warehouse is down")

    rules = BreakerRules(at_least=10, first_pause=0.01, longest_pause=0.02)
    patient = OrderRules(id_field="order_id", max_bytes=1000, retry=RetryPolicy(20, 0.01, 0.1))
    shop.place(*[f"{n}" for n in range(200)])
    shop.work(ship, breaker=rules, rules=patient)
    await shop.until(lambda: len(shop.all(BreakerChanged)) >= 6)
    assert len(shop.store.public) >= 150
    up.set()
    await shop.until(lambda: shop.store.fulfilled == 200)
    assert shop.store.dead == []
    states = [changed.state for changed in shop.all(BreakerChanged)]
    assert states[:3] == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.OPEN]
    assert states[-1] is BreakerState.CLOSED


async def test_breaker_opens_when_all_orders_are_rejected_and_few_are_buried(shop: Shop) -> None:
    """As a gateway does that answers 404 for a while, or a release that rejects everything."""
    mended = asyncio.Event()

    async def ship(order: Order) -> None:
        if not mended.is_set():
            raise Reject("404 Not Found")

    rules = BreakerRules(first_pause=0.01, longest_pause_rejected=0.02)
    shop.place(*[f"{n}" for n in range(500)])
    shop.work(ship, breaker=rules)
    await shop.until(lambda: len(shop.all(BreakerChanged)) >= 6)
    assert {changed.cause for changed in shop.all(BreakerChanged)} == {BreakerCause.REJECTIONS}
    mended.set()
    await shop.until(lambda: shop.store.fulfilled + len(shop.store.dead) == 500)
    assert shop.store.fulfilled >= 400
    assert shop.all(BreakerChanged)[-1].state is BreakerState.CLOSED


async def test_the_last_survey_shows_the_queue_as_it_was_left(shop: Shop) -> None:
    """An idle worker is silent for long, so it must not go to sleep on a survey of the rush."""
    shop.work(fulfil)
    await shop.until(lambda: shop.all(QueueSurveyed))
    shop.place("A", "B")
    await shop.until(lambda: shop.store.fulfilled == 2)
    await shop.until(lambda: shop.all(QueueSurveyed)[-1].survey.fulfilled == 2)
    assert shop.all(QueueSurveyed)[-1].survey.in_flight == 0


async def test_data_that_redis_has_lost_is_told(shop: Shop) -> None:
    """FLUSHALL, or a server that came back with an older state, is no lost lease alone."""
    shop.place("A", "B")
    worker = shop.work(fulfil)
    await shop.until(lambda: [s for s in shop.all(QueueSurveyed) if s.survey.fulfilled == 2])
    shop.store.received = shop.store.fulfilled = 0
    shop.store.orders.clear()
    shop.place("C")
    await shop.until(lambda: shop.all(QueueRolledBack))
    assert shop.all(QueueRolledBack)[0].before == 2
    await shop.until(lambda: "C" in shop.handled)
    assert worker.holding <= 1


async def test_an_idle_worker_that_is_told_to_look_finds_what_was_put_back(shop: Shop) -> None:
    """Orders that were released wake nobody by themselves."""
    gone = MemoryQueue(shop.store)
    shop.place("A")
    await gone.exchange(Exchange(worker="gone", claim=1))
    queue = MemoryQueue(shop.store)
    worker = shop.work(fulfil, queue)
    await shop.until(lambda: queue.exchanges and shop.all(QueueSurveyed))
    assert worker.names == {"orders": queue.exchanges[0].worker}
    await gone.release("gone")
    exchanges = len(queue.exchanges)
    worker.wake()
    await shop.until(lambda: shop.store.fulfilled == 1)
    assert queue.exchanges[exchanges].claim == 10


async def test_quick_orders_follow_those_that_end_and_no_more_would_run_again_than_may(
    shop: Shop,
) -> None:
    most = most_held = 0

    async def quick(order: Order) -> None:
        nonlocal most, most_held
        # Running, or not recorded yet: what a crash would let run again.
        most = max(most, len(shop.handled) - shop.store.fulfilled)
        most_held = max(most_held, worker.holding)
        await asyncio.sleep(0.002)

    shop.place(*(f"{n}" for n in range(700)))
    worker = shop.work(quick, Slow(shop.store))
    await shop.until(lambda: shop.store.fulfilled == 700)
    assert most == 10
    # Those that are ready as well.
    assert most_held > 10
    assert not shop.all(OrdersRequeued)


async def test_slow_orders_have_none_waiting_behind_them(shop: Shop) -> None:
    gate = Gate()
    shop.place(*(f"{n}" for n in range(50)))
    worker = shop.work(gate, Slow(shop.store))
    await shop.until(lambda: len(shop.handled) == 10)
    assert worker.holding == 10
    gate.opened.set()


def quick_until(number: int, gate: Gate) -> Callable[[Order], Awaitable[None]]:
    """A handler that is quick at first, and waits for the gate from this order on."""

    async def handle(order: Order) -> None:
        if int(order.id) >= number:
            await gate(order)
        await asyncio.sleep(0.002)

    return handle


async def test_orders_that_wait_behind_suddenly_slow_ones_go_to_others(shop: Shop) -> None:
    gate = Gate()
    shop.place(*(f"{n}" for n in range(350)))
    worker = shop.work(quick_until(300, gate), Slow(shop.store))
    await shop.until(lambda: shop.store.fulfilled == 300 and worker.holding == 10)
    assert shop.all(OrdersRequeued)
    gate.opened.set()
    await shop.until(lambda: shop.store.fulfilled == 350)
    assert len(shop.handled) == 350


async def test_orders_that_were_given_back_are_not_taken_again_and_again(shop: Shop) -> None:
    """Each time costs two events, and keeps it from workers with room."""
    gate = Gate()
    shop.place(*(f"{n}" for n in range(350)))
    worker = shop.work(quick_until(300, gate), Slow(shop.store, 0.015))
    await shop.until(lambda: shop.store.fulfilled == 300 and shop.all(OrdersRequeued))
    await shop.until(lambda: worker.holding == 10)
    # Half as many as there are slots, and those that were on their way just then.
    assert sum(event.count for event in shop.all(OrdersRequeued)) <= 10
    gate.opened.set()
    await shop.until(lambda: shop.store.fulfilled == 350)


class Slow(MemoryQueue):
    """Takes some milliseconds for each exchange."""

    def __init__(self, store: Store, seconds: float = 0.003) -> None:
        super().__init__(store)
        self._seconds = seconds

    async def _reply(self, exchange: Exchange) -> Reply:
        await asyncio.sleep(self._seconds)
        return await super()._reply(exchange)


# --- exchanges that stand by --------------------------------------------------------------------


async def idle(shop: Shop, queue: MemoryQueue) -> None:
    """Return when the worker has surveyed the queue as it left it, and waits for an order."""
    await shop.until(lambda: queue.exchanges and queue.exchanges[-1].survey and queue.stands_by)


async def test_an_idle_worker_is_given_an_order_that_has_begun(shop: Shop) -> None:
    queue = MemoryQueue(shop.store)
    worker = shop.work(fulfil, queue)
    for number in range(3):
        await idle(shop, queue)
        shop.place(f"{number}")
        await shop.until(lambda: shop.store.fulfilled == number + 1)  # noqa: B023
        assert [exchange.standing for exchange in queue.exchanges if not exchange.survey] == [
            True,
            False,
        ]
        queue.exchanges.clear()
    assert shop.handled == ["0", "1", "2"]
    assert worker.holding == 0
    assert len(shop.all(OrdersReceived)) == 3


class Unheard(MemoryQueue):
    """The first exchange that stood by takes place, and nobody hears of it."""

    lost = False

    async def wait(self, seconds: float) -> Wakeup:
        rung = await super().wait(seconds)
        if rung.reply and not self.lost:
            self.lost = True
            raise QueueUnavailable("the line was cut")
        return rung


async def test_what_an_unheard_exchange_claimed_is_found_and_handled_once(shop: Shop) -> None:
    queue = Unheard(shop.store)
    shop.work(fulfil, queue)
    await idle(shop, queue)
    shop.place("A")
    await shop.until(lambda: shop.store.fulfilled == 1)
    assert queue.lost
    assert shop.handled == ["A"]
    await idle(shop, queue)
    shop.place("B")
    await shop.until(lambda: shop.store.fulfilled == 2)


async def test_an_exchange_that_stood_by_while_the_worker_spoke_is_not_taken_twice(
    shop: Shop,
) -> None:
    """Both were on their way at the same time, and the one that stood by came first."""

    class Crossing(MemoryQueue):
        crossed = 0

        async def send(self, exchange: Exchange) -> Awaitable[Reply]:
            if self.stands_by and shop.handled == ["A"] and not self.crossed:
                self.crossed += 1
                shop.place("B")
                for _ in range(5):
                    await asyncio.sleep(0)
            return await super().send(exchange)

    queue = Crossing(shop.store)
    worker = shop.work(fulfil, queue)
    await idle(shop, queue)
    shop.place("A")
    await shop.until(lambda: shop.store.fulfilled == 1)
    await idle(shop, queue)
    worker.wake()
    await shop.until(lambda: shop.store.fulfilled == 2)
    assert queue.crossed == 1
    assert shop.handled == ["A", "B"]
    assert shop.store.duplicates == 0


async def test_a_worker_that_stands_by_drains_at_once(shop: Shop) -> None:
    queue = MemoryQueue(shop.store)
    worker = shop.work(fulfil, queue)
    await idle(shop, queue)
    async with asyncio.timeout(120):
        await shop.finish(worker)
    shop.place("A")
    assert len(shop.store.public) == 1
    assert shop.store.in_flight.get("w") is None


async def test_what_redis_took_for_an_order_is_put_aside_all_the_same(shop: Shop) -> None:
    """Its parser is more lenient than JSON is."""
    queue = MemoryQueue(shop.store)
    shop.work(fulfil, queue)
    await idle(shop, queue)
    raw = b'{"order_id": "A", "sum": NaN}'
    shop.store.push(raw)
    await shop.until(lambda: shop.store.dead == [("invalid", raw)])
    assert shop.store.orders["A"]["status"] == "dead"
    await shop.until(lambda: shop.all(OrderInvalid))
    assert shop.handled == []


async def test_with_several_queues_none_keeps_room_for_what_may_come(shop: Shop) -> None:
    queues = MemoryQueue(shop.store), MemoryQueue(Store(), "other")
    shop.work(fulfil, *queues)
    await shop.until(
        lambda: all(queue.exchanges and queue.exchanges[-1].survey for queue in queues)
    )
    shop.place("A")
    await shop.until(lambda: shop.store.fulfilled == 1)
    assert not any(exchange.standing for queue in queues for exchange in queue.exchanges)
