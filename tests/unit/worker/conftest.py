"""A worker over the queue in memory, with all that it tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest

from fulfillment_worker.core.decide import RetryPolicy
from fulfillment_worker.core.events import Event, OrdersFulfilled
from fulfillment_worker.core.order import Order
from fulfillment_worker.handlers.function import AsyncFunction
from fulfillment_worker.worker.intake import OrderRules
from fulfillment_worker.worker.worker import Worker
from tests.support.eventually import PATIENCE
from tests.support.memory_queue import MemoryQueue, Store

E = TypeVar("E")
Fulfil = Callable[[Order], Awaitable[None]]


class Shop:
    """A store with orders, and workers on it. `told` holds every event, `handled` every call."""

    def __init__(self) -> None:
        self.store = Store()
        self.told: list[object] = []
        self.handled: list[str] = []
        self.changed = asyncio.Event()
        self._running: list[tuple[Worker, asyncio.Task[None]]] = []

    def place(self, *order_ids: str) -> None:
        for order_id in order_ids:
            self.store.push(b'{"order_id": "%s"}' % order_id.encode())

    def tell(self, event: Event) -> None:
        # A success is as good as an event of its own.
        self.told += event.attempts if isinstance(event, OrdersFulfilled) else [event]
        self.changed.set()

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.told if isinstance(event, kind)]

    def work(self, handler: Fulfil, *queues: MemoryQueue, **more: Any) -> Worker:
        """Start a worker; it is stopped at the end of the test."""

        async def note(order: Order) -> None:
            self.handled.append(order.id)
            self.changed.set()
            await handler(order)

        settings: dict[str, Any] = {
            "rules": OrderRules(
                id_field="order_id", max_bytes=1000, retry=RetryPolicy(3, 0.001, 0.002)
            ),
            "concurrency": 10,
            "order_timeout": 30.0,
            "lease": 10.0,
            "emit": self.tell,
        }
        queues = queues or (MemoryQueue(self.store),)
        worker = Worker(queues, AsyncFunction(note, "shop"), **(settings | more))
        self._running.append((worker, asyncio.create_task(worker.run())))
        return worker

    async def until(self, condition: Callable[[], object]) -> None:
        """Return when the condition holds; it is looked at after each event."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.changed.clear()
                # Time in the store stands still, so retries come due by this.
                self.store.pass_time(20)
                with_timeout = asyncio.wait_for(self.changed.wait(), 0.02)
                await asyncio.gather(with_timeout, return_exceptions=True)

    async def finish(self, worker: Worker) -> None:
        """Stop one worker, and wait until it has drained."""
        worker.quiet()
        await next(task for running, task in self._running if running is worker)

    async def close(self) -> None:
        for worker, task in self._running:
            worker.quiet()
            worker.abort()
            await asyncio.wait({task}, timeout=PATIENCE)
            if task.done():
                assert worker.capacity.held == worker.running == 0
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    yield shop
    await shop.close()
