"""Celery with Redis as its broker, and no result backend."""

from __future__ import annotations

from typing import Any

from celery import Celery
from work import REDIS_URL, work

app = Celery("on_celery", broker=REDIS_URL)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=10,
    broker_connection_retry_on_startup=True,
)


@app.task
def fulfil(order: dict[str, Any]) -> None:
    """The handler."""
    work()


def enqueue(orders: list[dict[str, Any]]) -> None:
    """One by one over one connection: there is no call for many."""
    with app.producer_pool.acquire() as producer:
        for order in orders:
            fulfil.apply_async((order,), producer=producer)
