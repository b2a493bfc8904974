"""What wakes an idle worker comes at any moment: while it speaks, late, or with many orders."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fulfillment_worker import Order
from fulfillment_worker.core.events import QueueRegained
from fulfillment_worker.core.exchange import Exchange, QueueUnavailable, Reply, Wakeup
from tests.support.memory_queue import MemoryQueue, Store
from tests.unit.worker.conftest import Shop


async def fulfil(order: Order) -> None:
    """Returning means fulfilled."""


async def idle(shop: Shop, queue: MemoryQueue) -> None:
    """Return when the worker has surveyed the queue as it left it, and waits for an order."""
    await shop.until(lambda: queue.exchanges and queue.exchanges[-1].survey and queue.stands_by)


class Eventful(MemoryQueue):
    """Something happens once, after the next exchange and before the worker hears of it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.happens: Callable[[], Awaitable[None]] | None = None

    async def _reply(self, exchange: Exchange) -> Reply:
        reply = await super()._reply(exchange)
        happens, self.happens = self.happens, None
        if happens:
            await happens()
        return reply


async def test_what_rings_during_an_exchange_is_followed_by_another(shop: Shop) -> None:
    """That exchange may have come before; an idle worker would find the order seconds later."""
    gone, queue = MemoryQueue(shop.store), Eventful(shop.store)
    shop.place("A")
    await gone.exchange(Exchange(worker="gone", claim=1))
    worker = shop.work(fulfil, queue)
    await idle(shop, queue)

    async def put_back() -> None:
        await gone.release("gone")
        worker.wake()

    queue.happens = put_back
    worker.wake()
    await shop.until(lambda: shop.store.fulfilled == 1)


class Refused(MemoryQueue):
    """Exchanges can't even be sent, as long as `refuses`; the line on which it waits holds."""

    refuses = False

    async def send(self, exchange: Exchange) -> Awaitable[Reply]:
        if self.refuses:
            self.refuses = False
            raise QueueUnavailable("nobody is there")
        return await super().send(exchange)


async def test_an_idle_worker_that_was_refused_tries_again_soon(shop: Shop) -> None:
    queue = Refused(shop.store)
    worker = shop.work(fulfil, queue)
    await idle(shop, queue)
    queue.refuses = True
    worker.wake()
    await shop.until(lambda: len(shop.all(QueueRegained)) == 2)


class Impatient(MemoryQueue):
    """Each wait for an order ends soon, without one."""

    async def wait(self, seconds: float) -> Wakeup:
        await asyncio.sleep(0.02)
        return self.ring(None)


async def test_a_wait_that_ends_without_an_order_puts_off_no_look_at_the_leases(shop: Shop) -> None:
    """An exchange that stands by doesn't look for orders whose lease has run out."""
    queue = Impatient(shop.store)
    shop.work(fulfil, queue, lease=0.3)
    await shop.until(lambda: any(exchange.standing for exchange in queue.exchanges))
    looks = sum(not exchange.standing for exchange in queue.exchanges)
    await shop.until(lambda: sum(not exchange.standing for exchange in queue.exchanges) > looks)


async def test_orders_that_came_at_once_are_asked_for_without_another_ring(shop: Shop) -> None:
    queue, all_started = MemoryQueue(shop.store), asyncio.Barrier(3)

    async def fulfil_together(order: Order) -> None:
        await all_started.wait()

    shop.work(fulfil_together, queue)
    await idle(shop, queue)
    queue.exchanges.clear()
    shop.place("A", "B", "C")
    await shop.until(lambda: shop.store.fulfilled == 3)
    first, second = queue.exchanges[:2]
    assert first.standing
    assert second.claim


async def test_many_orders_at_once_start_at_once(shop: Shop) -> None:
    """With room for so many, a large reply is worked off while the next exchange is on its way."""
    queue = MemoryQueue(shop.store)
    shop.work(fulfil, queue, concurrency=400)
    await idle(shop, queue)
    queue.exchanges.clear()
    shop.place(*(f"{n}" for n in range(80)))
    await shop.until(lambda: shop.store.fulfilled == 80)
    first, second, third = queue.exchanges[:3]
    assert first.standing
    assert [len(second.outcomes), len(third.begins)] == [1, 79]


class Late(MemoryQueue):
    """Its worker is stopped, for longer than its lease, when an order of it has just begun."""

    async def _reply(self, exchange: Exchange) -> Reply:
        reply = await super()._reply(exchange)
        if exchange.begins:
            await asyncio.sleep(0.4)
        return reply

    async def wait(self, seconds: float) -> Wakeup:
        rung = await super().wait(seconds)
        if rung.exchange:
            await asyncio.sleep(0.4)
        return rung


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_a_late_reply_starts_no_order_that_is_with_others_by_now(
    shop: Shop, busy: bool
) -> None:
    """Invariant 2: the handler of a zombie isn't even called."""
    shop.store.lease = 300
    zombie = Late(shop.store)
    if busy:
        shop.place("A")
    shop.work(fulfil, zombie, lease=0.3)
    if not busy:
        await idle(shop, zombie)
        shop.place("A")
    await shop.until(lambda: "A" in shop.store.orders)
    shop.store.pass_time(301)
    shop.work(fulfil, lease=0.3)
    await shop.until(lambda: shop.store.fulfilled == 1)
    exchanges = len(zombie.exchanges)
    await shop.until(lambda: len(zombie.exchanges) > exchanges)
    assert shop.handled == ["A"]
