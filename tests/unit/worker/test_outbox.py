"""Events that wait until an order has been started."""

from __future__ import annotations

import asyncio

from fulfillment_worker.core.events import Event, OrdersReceived
from fulfillment_worker.worker.outbox import Outbox


async def test_events_that_are_deferred_come_after_an_order_that_is_started_later() -> None:
    happened: list[Event | str] = []
    done = asyncio.Event()

    def observe(event: Event) -> None:
        happened.append(event)
        done.set()

    async def handler() -> None:
        happened.append("handler")

    tell = Outbox(observe)
    tell.defer()
    tell(OrdersReceived("orders", 1))
    started = asyncio.create_task(handler())
    await done.wait()
    await started
    assert happened == ["handler", OrdersReceived("orders", 1)]
