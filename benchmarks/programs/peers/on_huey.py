"""huey with its Redis storage."""

from __future__ import annotations

from work import AT_ONCE, REDIS_URL, work

if AT_ONCE > 1:  # greenlets: the consumer asks for this, before anything that it patches
    from gevent import monkey

    monkey.patch_all()

from typing import Any

from huey import RedisHuey

huey = RedisHuey(url=REDIS_URL, results=False)


@huey.task()
def fulfil(order: dict[str, Any]) -> None:
    """The handler."""
    work()


def enqueue(orders: list[dict[str, Any]]) -> None:
    """One by one: there is no call for many."""
    for order in orders:
        fulfil(order)
