"""SAQ."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from saq import Queue
from work import AT_ONCE, REDIS_URL, async_work

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
queue = Queue.from_url(REDIS_URL)


async def fulfil(ctx: dict[str, Any], *, order: dict[str, Any]) -> None:
    """The handler."""
    await async_work()


settings = {"queue": queue, "functions": [fulfil], "concurrency": AT_ONCE}


async def enqueue(orders: list[dict[str, Any]]) -> None:
    """All at once; it allows itself twenty at a time.

    No result is kept. Three tries: with the default of one, a stuck job is given up.
    """
    more: dict[str, Any] = {"retries": 3, "ttl": -1}
    await asyncio.gather(*[queue.enqueue("fulfil", order=order, **more) for order in orders])
