"""From a loaded handler to the last order given back, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from fulfillment_worker.config.forks import end_copies
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.handlers.handler import Handler
from fulfillment_worker.runtime.assembly import make_worker
from fulfillment_worker.runtime.exit_codes import DONE, FAILED
from fulfillment_worker.runtime.life import Ending, live
from fulfillment_worker.runtime.watch import Watch
from fulfillment_worker.worker.worker import Worker


class Stop(Protocol):
    """What ends it: `asked` lets running orders finish, `demanded` cuts them short."""

    asked: asyncio.Event
    demanded: asyncio.Event


async def consume(
    settings: Settings,
    redis_url: RedisUrl,
    handler: Handler,
    watch: Watch,
    stop: Stop,
    *,
    meet: Callable[[Worker], None] | None = None,
) -> int:
    """Consume orders until told to stop; returns the exit code.

    redis_url: where the queues are; never an embedded one. meet: is shown the worker before it
    takes its first order.
    """
    async with watch.ticking():
        worker = make_worker(settings, redis_url, handler, watch.tell)
        if meet is not None:
            meet(worker)
        watch.consuming(worker)
        ending = await live(
            worker,
            asked=stop.asked,
            demanded=stop.demanded,
            grace=settings.shutdown_grace,
            on_asked=watch.draining,
        )
        await handler.close()
        end_copies()
    watch.ended(ending.name.lower(), worker.holding)
    return DONE if ending is Ending.DRAINED else FAILED
