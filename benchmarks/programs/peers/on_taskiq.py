"""taskiq with its Redis stream broker."""

from __future__ import annotations

import asyncio
from typing import Any

from taskiq_redis import RedisStreamBroker
from work import REDIS_URL, async_work

# The oldest entry that is there, not the newest: the queue is filled before the worker starts.
broker = RedisStreamBroker(REDIS_URL, consumer_id="0")


@broker.task
async def fulfil(order: dict[str, Any]) -> None:
    """The handler."""
    await async_work(order)


async def enqueue(orders: list[dict[str, Any]]) -> None:
    """A hundred calls at once: there is none for many."""
    if not broker.is_worker_process and not _started:
        await broker.startup()
        _started.append(True)
    for start in range(0, len(orders), 100):
        await asyncio.gather(*[fulfil.kiq(order) for order in orders[start : start + 100]])


_started: list[bool] = []
