"""arq."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from work import AT_ONCE, REDIS_URL, async_work

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


async def fulfil(ctx: dict[str, Any], order: dict[str, Any]) -> None:
    """The handler."""
    await async_work()


class WorkerSettings:
    """Defaults but for how many at once, no result kept, and a shorter pause between polls."""

    functions = (fulfil,)
    redis_settings = RedisSettings.from_dsn(REDIS_URL)
    max_jobs = AT_ONCE
    keep_result = 0
    poll_delay = 0.05


_pool: list[ArqRedis] = []


async def enqueue(orders: list[dict[str, Any]]) -> None:
    """Twenty calls at once: there is none for many."""
    if not _pool:
        _pool.append(await create_pool(WorkerSettings.redis_settings))
    for start in range(0, len(orders), 20):
        calls = [_pool[0].enqueue_job("fulfil", order) for order in orders[start : start + 20]]
        await asyncio.gather(*calls)
