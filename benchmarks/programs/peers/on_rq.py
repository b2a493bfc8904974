"""RQ."""

from __future__ import annotations

from typing import Any

import redis
from rq import Queue
from work import REDIS_URL, work

queue = Queue(connection=redis.Redis.from_url(REDIS_URL))


def fulfil(order: dict[str, Any]) -> None:
    """The handler."""
    work()


def enqueue(orders: list[dict[str, Any]]) -> None:
    """A pipeline for all; no result is kept."""
    queue.enqueue_many([Queue.prepare_data(fulfil, (order,), result_ttl=0) for order in orders])
