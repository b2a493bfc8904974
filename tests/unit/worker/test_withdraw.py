"""Attempts that are stopped since an operator holds or cancels their orders."""

from __future__ import annotations

import asyncio

import pytest

from fulfillment_worker import Order
from fulfillment_worker.core.decide import RetryPolicy, decide
from fulfillment_worker.core.events import AttemptEnded, OrdersRequeued, OrderWithdrawn
from fulfillment_worker.core.exchange import Exchange, QueueUnavailable, Reply
from fulfillment_worker.core.outcome import FailureReason, Stopped, Withdrawal, Withdrawn
from tests.support.memory_queue import MemoryQueue
from tests.unit.worker.conftest import Shop


async def hang(order: Order) -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("became", list(Withdrawal))
async def test_withdrawn_attempt_is_stopped_and_told(shop: Shop, became: Withdrawal) -> None:
    shop.place("A")
    shop.work(hang)
    await shop.until(lambda: shop.handled)
    shop.store.wish("A", became)
    await shop.until(lambda: shop.all(OrderWithdrawn))
    (event,) = shop.all(OrderWithdrawn)
    assert (event.order_id, event.attempt, event.became) == ("A", 1, became)
    assert event.duration is not None
    assert shop.store.orders["A"]["status"] == str(became)
    assert not shop.all(AttemptEnded)
    assert not shop.all(OrdersRequeued)


async def test_withdrawn_order_that_has_not_begun_is_not_handled(shop: Shop) -> None:
    shop.store.wish("A", Withdrawal.CANCELLED)
    shop.store.wish("B", Withdrawal.HELD)
    shop.place("A", "B", "C")

    async def fulfil(order: Order) -> None:
        pass

    shop.work(fulfil)
    await shop.until(lambda: len(shop.all(OrderWithdrawn)) == 2)
    await shop.until(lambda: shop.store.fulfilled)
    assert shop.handled == ["C"]
    assert {event.order_id: event.became for event in shop.all(OrderWithdrawn)} == {
        "A": Withdrawal.CANCELLED,
        "B": Withdrawal.HELD,
    }


async def test_withdrawn_attempt_that_succeeds_all_the_same_is_fulfilled(shop: Shop) -> None:
    async def finish(order: Order) -> None:
        try:
            await hang(order)
        except asyncio.CancelledError:
            return

    shop.place("A")
    shop.work(finish)
    await shop.until(lambda: shop.handled)
    shop.store.wish("A", Withdrawal.CANCELLED)
    await shop.until(lambda: shop.store.fulfilled)
    assert shop.store.orders["A"]["status"] == "fulfilled"
    assert not shop.all(OrderWithdrawn)


async def test_withdrawn_handler_that_goes_on_is_not_given_up_before_its_time_is_up(
    shop: Shop,
) -> None:
    """Nobody is told that the order is held while its handler still works on it."""
    asked, goes_on = asyncio.Event(), asyncio.Event()

    async def resist(order: Order) -> None:
        while not goes_on.is_set():
            try:
                await goes_on.wait()
            except asyncio.CancelledError:
                asked.set()
        raise ValueError("it failed")

    shop.place("A")
    shop.work(resist)
    await shop.until(lambda: shop.handled)
    shop.store.wish("A", Withdrawal.HELD)
    await shop.until(asked.is_set)
    assert shop.store.orders["A"]["status"] == "processing"
    goes_on.set()
    await shop.until(lambda: shop.all(OrderWithdrawn))
    assert len(shop.store.held) == 1


async def test_timeout_of_a_withdrawn_attempt_is_a_failure_and_the_order_is_held(
    shop: Shop,
) -> None:
    asked, goes_on = asyncio.Event(), asyncio.Event()

    async def resist(order: Order) -> None:
        while not goes_on.is_set():
            try:
                await goes_on.wait()
            except asyncio.CancelledError:
                asked.set()

    shop.place("A")
    shop.work(resist, order_timeout=0.5)
    await shop.until(lambda: shop.handled)
    shop.store.wish("A", Withdrawal.HELD)
    await shop.until(lambda: shop.all(OrderWithdrawn))
    (failure,) = shop.all(AttemptEnded)
    assert failure.reason is FailureReason.TIMEOUT
    assert failure.retry_in is None, "an operator has decided otherwise"
    (entry,) = shop.store.held.values()
    assert entry.failures == 1
    goes_on.set()


async def test_released_order_is_handled_again(shop: Shop) -> None:
    shop.place("A")
    stays = True

    async def fulfil(order: Order) -> None:
        if stays:
            await hang(order)

    shop.work(fulfil)
    await shop.until(lambda: shop.handled)
    shop.store.wish("A", Withdrawal.HELD)
    await shop.until(lambda: shop.store.held)
    stays = False
    shop.store.let_go("A")
    await shop.until(lambda: shop.store.fulfilled)
    assert shop.handled == ["A", "A"]


async def test_wish_taken_back_too_late_for_the_attempt_gives_the_order_back(shop: Shop) -> None:
    stays, asked, ends = True, asyncio.Event(), asyncio.Event()

    async def fulfil(order: Order) -> None:
        try:
            if stays:
                await hang(order)
        except asyncio.CancelledError:
            asked.set()
            await ends.wait()
            raise

    shop.place("A")
    shop.work(fulfil)
    await shop.until(lambda: shop.handled)
    shop.store.wish("A", Withdrawal.CANCELLED)
    await shop.until(asked.is_set)
    shop.store.let_go("A")
    stays = False
    ends.set()
    await shop.until(lambda: shop.store.fulfilled)
    assert [event.count for event in shop.all(OrdersRequeued)] == [1]
    assert not shop.all(OrderWithdrawn)
    assert shop.store.cancelled == 0


async def test_lost_reply_to_a_withdrawn_outcome_costs_nothing(shop: Shop) -> None:
    class Deaf(MemoryQueue):
        lost = 0

        async def _reply(self, exchange: Exchange) -> Reply:
            reply = await super()._reply(exchange)
            if not self.lost and any(type(each) is Withdrawn for each in exchange.outcomes):
                self.lost += 1
                raise QueueUnavailable("the reply is lost")
            return reply

    queue = Deaf(shop.store)
    shop.place("A")
    shop.work(hang, queue)
    await shop.until(lambda: shop.handled)
    shop.store.wish("A", Withdrawal.HELD)
    await shop.until(lambda: shop.all(OrderWithdrawn))
    assert queue.lost == 1
    assert [event.became for event in shop.all(OrderWithdrawn)] == [Withdrawal.HELD]
    assert len(shop.store.held) == 1


@pytest.mark.parametrize("becomes", list(Withdrawal))
def test_withdrawn_outcome_leaves_to_the_queue_what_is_wished(becomes: Withdrawal) -> None:
    policy = RetryPolicy(max_attempts=1, base=1, cap=1)
    assert decide(7, "A", 3, Stopped(becomes), policy, 0.5) == Withdrawn(7, "A", 3)
