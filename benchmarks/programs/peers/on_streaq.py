"""streaq."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from streaq import Worker
from work import AT_ONCE, REDIS_URL, async_work

worker: Worker[Any] = Worker(
    redis_url=REDIS_URL, concurrency=AT_ONCE or 16, anyio_kwargs={"use_uvloop": True}
)


@worker.task(ttl=0)
async def fulfil(order: dict[str, Any]) -> None:
    """The handler. No result is kept."""
    await async_work()


_open = AsyncExitStack()
_opened: list[bool] = []


async def enqueue(orders: list[dict[str, Any]]) -> None:
    """A pipeline for all."""
    if not _opened:
        await _open.enter_async_context(worker)
        _opened.append(True)
    await worker.enqueue_many([fulfil.enqueue(order) for order in orders])
