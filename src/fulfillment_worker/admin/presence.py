"""Whether a queue is one at all: a name with a typing error is answered like an empty queue."""

from __future__ import annotations

from typing import Any

from fulfillment_worker.admin.redis_client import call
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.queue import keys
from fulfillment_worker.queue.library import Function


async def is_known(client: Any, queue: str, url: RedisUrl) -> bool:
    """Whether an order was ever placed on the queue, or a worker has served it.

    Raises QueueUnavailable.
    """
    names = keys.public(queue), keys.books(queue)
    return bool(await call(client, url, Function.KNOWN, len(names), *names))
