"""Working on queues on behalf of a command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fulfillment_worker.config.settings import Settings
from fulfillment_worker.queue.operator import Operator
from fulfillment_worker.queue.session import connected


@asynccontextmanager
async def operators(settings: Settings) -> AsyncIterator[dict[str, Operator]]:
    """One operator for each queue, in the order of preference. Raises QueueUnavailable."""
    async with connected(settings.redis_url) as client:
        yield {queue: Operator(client, queue, settings.redis_url) for queue in settings.queues}
