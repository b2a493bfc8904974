"""Room for 200 orders and more: the next exchange is sent before the last reply is worked off.

What may happen to an exchange, to the lease or to the worker happens here while a reply is noted,
and not yet worked off.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import NoReturn

import pytest

from fulfillment_worker import Order, Retry
from fulfillment_worker.core.events import (
    AttemptEnded,
    LeaseLost,
    OrdersReceived,
    OrdersRequeued,
)
from fulfillment_worker.core.exchange import Exchange, Holdings, QueueUnavailable, Reply
from fulfillment_worker.core.outcome import FailureReason
from fulfillment_worker.worker.delivery import Delivery
from tests.support.memory_queue import MemoryQueue, Store
from tests.unit.worker.conftest import Shop

ROOM = 400
MANY = 1000
IDS = [f"{n}" for n in range(MANY)]
SURE = 5
"""Exchanges that are sent before the last reply is worked off, however fast handlers end: all room
is claimed in four, and what one has claimed asks to begin two exchanges later."""


async def fulfil(order: Order) -> None:
    """Returning means fulfilled."""


async def mixed(order: Order) -> None:
    """Most are done at once, some wait, and some succeed at their second attempt."""
    number = int(order.id)
    if number % 7 == 0:
        await asyncio.sleep(0.001 * (number % 3))
    if number % 50 == 1 and order.attempt == 1:
        raise Retry("not yet")


class Fated(MemoryQueue):
    """Has something happen to exchanges that are sent while a reply is noted.

    fate: told how many of them there were, says what becomes of this one: "done"; "unsent";
    "lost" before it arrived; "late", so that it arrives after the worker has asked; "unheard",
    where its reply is lost. happens: called while it is on its way.
    """

    def __init__(
        self,
        shop: Shop,
        fate: Callable[[int], str] = lambda _: "done",
        happens: Callable[[int], None] = lambda _: None,
    ) -> None:
        super().__init__(shop.store)
        self.overlapping = self.stale = self.lost = 0
        self._shop = shop
        self._fate = fate
        self._happens = happens
        self._noted = False
        self._late: list[Exchange] = []

    async def send(self, exchange: Exchange) -> Awaitable[Reply]:
        noted, self._noted = self._noted, False
        fate = self._fate(self.overlapping + 1) if noted else "done"
        if fate == "unsent":
            self.overlapping += 1
            self._lose()
        return self._receive(exchange, fate, len(self._shop.told) if noted else None)

    async def _receive(self, exchange: Exchange, fate: str, told: int | None) -> Reply:
        """told: how many events there were before the worker worked off the reply before."""
        if told is not None and len(self._shop.told) > told:
            self.overlapping += 1
            self._happens(self.overlapping)
            if fate in ("lost", "late"):
                self._late += [exchange] * (fate == "late")
                self._lose()
        else:
            fate = "done"
        reply = await (await super().send(exchange))
        if fate == "unheard":
            self._lose()
        self.stale += reply.stale
        # With a backlog the next exchange has something to say, and is sent at once.
        self._noted = reply.backlog and len(reply.claimed) + len(reply.verdicts) >= 50
        return reply

    async def holdings(
        self, worker: str, number: int, known: Collection[int], delay_ms: int = 0
    ) -> Holdings:
        holdings = await super().holdings(worker, number, known, delay_ms)
        late, self._late = self._late, []
        for exchange in late:
            reply = await (await super().send(exchange))
            assert reply.stale or reply.lease_lost, "it came too late to have an effect"
        return holdings

    def _lose(self) -> NoReturn:
        self.lost += 1
        raise QueueUnavailable("the line was cut")


class Forgetful(Fated):
    """No exchange stands by: the worker hears of an order, and then claims it."""

    async def stand_by(self, exchange: Exchange) -> None:
        pass


def in_places(store: Store) -> Counter[str]:
    """How often each order is in a place, but for those that have ended."""
    raws = [*store.public]
    raws += [entry.raw for _, entry in store.retry.values()]
    raws += [entry.raw for entry in store.suspects]
    raws += [entry.raw for held in store.in_flight.values() for entry in held.values()]
    return Counter(str(store.id_of(raw)) for raw in raws)


def assert_nothing_is_lost(store: Store) -> None:
    """Invariants 1 and 5."""
    places = in_places(store)
    assert set(places.values()) <= {1}
    fulfilled = {name for name, order in store.orders.items() if order.get("status") == "fulfilled"}
    assert fulfilled | set(places) >= set(IDS)
    assert not fulfilled & set(places)
    assert store.fulfilled == len(fulfilled)


async def test_most_exchanges_are_sent_before_the_last_reply_is_worked_off(shop: Shop) -> None:
    queue = Fated(shop)
    shop.place(*IDS)
    shop.work(mixed, queue, concurrency=ROOM)
    await shop.until(lambda: shop.store.fulfilled == MANY)
    assert queue.overlapping >= SURE
    assert queue.stale == queue.lost == 0


@pytest.mark.parametrize("which", ["1", "2", "3", "4", "5", "123", "2468", "13579"])
@pytest.mark.parametrize("fate", ["unsent", "lost", "late", "unheard"])
async def test_an_exchange_that_fails_while_a_reply_is_noted_costs_nothing(
    shop: Shop, fate: str, which: str
) -> None:
    """Invariants 1 and 3: each attempt is made once, recorded once, and told of once."""
    queue = Fated(shop, lambda number: fate if f"{number}" in which else "done")
    shop.place(*IDS)
    worker = shop.work(mixed, queue, concurrency=ROOM)
    await shop.until(lambda: shop.store.fulfilled == MANY)
    await shop.finish(worker)
    assert queue.lost >= 1
    assert queue.stale == 0
    twice = {f"{n}" for n in range(MANY) if n % 50 == 1}
    assert Counter(shop.handled) == {each: 1 + (each in twice) for each in IDS}
    assert sum(event.count for event in shop.all(OrdersReceived)) == MANY
    ended = shop.all(AttemptEnded)
    assert Counter(each.order_id for each in ended if each.reason is None) == Counter(IDS)
    assert len(ended) == MANY + len(twice)
    assert_nothing_is_lost(shop.store)
    assert shop.store.exchange_numbers == {}


@pytest.mark.parametrize("number", range(1, SURE + 1))
async def test_a_lease_that_runs_out_while_a_reply_is_noted(shop: Shop, number: int) -> None:
    """Invariant 2: what was held is done anew, and nothing of it counts twice."""

    def happens(now: int) -> None:
        if now == number:
            shop.store.pass_time(shop.store.lease + 1)

    queue = Fated(shop, happens=happens)
    shop.place(*IDS)
    worker = shop.work(mixed, queue, concurrency=ROOM)
    await shop.until(lambda: shop.store.fulfilled == MANY)
    await shop.finish(worker)
    (lost,) = shop.all(LeaseLost)
    assert 0 < lost.orders <= ROOM
    assert_nothing_is_lost(shop.store)
    kept = [each for each in shop.all(AttemptEnded) if each.reason is None]
    assert Counter(each.order_id for each in kept) == Counter(IDS)
    refused = [e for e in shop.all(AttemptEnded) if e.reason is FailureReason.LEASE_LOST]
    assert len(refused) <= lost.orders
    assert len(shop.handled) >= MANY


@pytest.mark.parametrize("number", range(1, SURE + 1))
@pytest.mark.parametrize("aborts", [False, True], ids=["quiet", "abort"])
async def test_the_end_may_come_while_a_reply_is_noted(
    shop: Shop, number: int, aborts: bool
) -> None:
    """Invariant 4: what has not begun, or is cut short, is given back at no cost."""

    def happens(now: int) -> None:
        if now == number:
            worker.quiet()
            if aborts:
                worker.abort()

    async def some_hang(order: Order) -> None:
        await mixed(order)
        if aborts and int(order.id) % 5 == 0:
            await asyncio.Event().wait()

    queue = Fated(shop, happens=happens)
    shop.place(*IDS)
    worker = shop.work(some_hang, queue, concurrency=ROOM)
    await shop.until(lambda: queue.overlapping >= number)
    await shop.finish(worker)
    assert worker.holding == worker.running == 0
    assert not any(shop.store.in_flight.values())
    assert_nothing_is_lost(shop.store)
    assert all(entry.orphanings == 0 for _, entry in shop.store.retry.values())
    failed = {e.order_id for e in shop.all(AttemptEnded) if e.reason}
    for _, entry in shop.store.retry.values():
        assert entry.failures == (shop.store.id_of(entry.raw) in failed)
    given_back = sum(event.count for event in shop.all(OrdersRequeued))
    assert len(shop.store.retry) - len(failed) <= given_back <= len(shop.store.retry)
    assert queue.exchanges[-1].leaving


@pytest.mark.parametrize("seed", range(12))
async def test_anything_may_happen_to_any_exchange(shop: Shop, seed: int) -> None:
    """Two workers, cut lines, leases that run out, and one worker that ends in the middle."""
    chance = random.Random(seed)

    def fate(_: int) -> str:
        return chance.choices(["done", "unsent", "lost", "late", "unheard"], [8, 1, 1, 1, 1])[0]

    def happens(_: int) -> None:
        if chance.random() < 0.1:
            shop.store.pass_time(shop.store.lease + 1)

    async def handle(order: Order) -> None:
        await mixed(order)
        if chance.random() < 0.1:
            await asyncio.sleep(chance.random() / 50)

    shop.store.max_orphanings = 100
    shop.place(*IDS)
    first = shop.work(handle, Fated(shop, fate, happens), concurrency=ROOM)
    shop.work(handle, Fated(shop, fate, happens), concurrency=200)
    await shop.until(lambda: shop.store.fulfilled > MANY / 2)
    await shop.finish(first)
    assert_nothing_is_lost(shop.store)
    await shop.until(lambda: shop.store.fulfilled == MANY)
    assert_nothing_is_lost(shop.store)
    kept = [each for each in shop.all(AttemptEnded) if each.reason is None]
    # An ack whose reply was lost together with the lease is not told, and never twice.
    assert set(Counter(each.order_id for each in kept).values()) <= {1}


async def test_slow_orders_delay_no_quick_one_and_nothing_is_kept(shop: Shop) -> None:
    """Thousands in flight: a quick order is recorded while the slow ones before it still run."""
    gate = asyncio.Event()
    running = most = 0

    async def handle(order: Order) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        number = int(order.id)
        if number % 2:
            await gate.wait()
        elif number % 3 == 0:
            await asyncio.sleep(0)
        running -= 1

    shop.place(*[f"{n}" for n in range(6000)])
    worker = shop.work(handle, MemoryQueue(shop.store, "thousands"), concurrency=5000)
    await shop.until(lambda: shop.store.fulfilled == 3000 and worker.holding == 3000)
    assert shop.store.orders["1"]["status"] == "processing"
    assert most <= 5000
    gate.set()
    await shop.until(lambda: shop.store.fulfilled == 6000 and not worker.holding)
    await shop.until(lambda: len(shop.all(AttemptEnded)) == 6000)
    gc.collect()
    kept = [each for each in gc.get_objects() if isinstance(each, Delivery)]
    # An exception that another test raises again and again keeps what its last handler held.
    assert not [each for each in kept if each.order and each.order.queue == "thousands"]


async def test_a_backlog_of_the_first_queue_starves_no_other(shop: Shop) -> None:
    """And both together never have more in flight than there are slots."""
    other = Store()
    for n in range(100):
        other.push(b'{"order_id": "other-%d"}' % n)
    shop.place(*[f"{n}" for n in range(3000)])
    running = most = 0

    async def handle(order: Order) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    worker = shop.work(
        handle, MemoryQueue(shop.store), MemoryQueue(other, "returns"), concurrency=200
    )
    await shop.until(lambda: shop.store.fulfilled == 3000 and other.fulfilled == 100)
    last_other = max(n for n, each in enumerate(shop.handled) if each.startswith("other"))
    assert last_other < 2000
    assert 50 <= most <= 200
    await shop.finish(worker)
