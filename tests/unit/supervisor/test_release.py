"""The orders of a dead process are given back, also where Redis is away for a moment."""

from __future__ import annotations

import asyncio
import logging

import pytest

from fulfillment_worker.core.events import Event, Gone, OrdersRecovered
from fulfillment_worker.core.exchange import Exchange
from fulfillment_worker.supervisor.release import Releaser
from tests.support.eventually import aeventually
from tests.support.memory_queue import MemoryQueue, Store


async def held_by_a_dead_process(store: Store, many: int = 2) -> MemoryQueue:
    queue = MemoryQueue(store)
    for number in range(many):
        store.push(b'{"order_id": "A-%d"}' % number)
    await queue.exchange(Exchange(worker="dead", claim=many))
    return queue


async def test_what_it_held_is_put_back_and_told_of() -> None:
    store, told = Store(), list[Event]()
    queue = await held_by_a_dead_process(store)
    await Releaser([queue], 10.0, told.append).release({"orders": "dead"}, Gone.EXIT)
    assert told == [OrdersRecovered("orders", 2, 0, Gone.EXIT)]
    assert len(store.retry) == 2


async def test_nothing_is_told_where_it_held_nothing() -> None:
    told = list[Event]()
    await Releaser([MemoryQueue(Store())], 10.0, told.append).release({"orders": "dead"}, Gone.EXIT)
    assert told == []


async def test_while_redis_is_away_it_tries_again() -> None:
    store, told = Store(), list[Event]()
    queue = await held_by_a_dead_process(store)
    store.away = True
    releasing = asyncio.create_task(
        Releaser([queue], 10.0, told.append).release({"orders": "dead"}, Gone.EXIT)
    )
    await asyncio.sleep(0.01)
    assert not releasing.done()
    store.away = False
    await aeventually(lambda: told == [OrdersRecovered("orders", 2, 0, Gone.EXIT)])
    await releasing


async def test_it_leaves_to_the_lease_what_the_lease_does_by_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, told = Store(away=True), list[Event]()
    with caplog.at_level(logging.WARNING):
        await Releaser([MemoryQueue(store)], 0.1, told.append).release(
            {"orders": "dead"}, Gone.EXIT
        )
    assert told == []
    assert [record.message for record in caplog.records] == ["orders_not_released"]
