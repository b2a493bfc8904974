"""Dramatiq with its Redis broker."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from work import REDIS_URL, work

broker = RedisBroker(url=REDIS_URL)
dramatiq.set_broker(broker)


@dramatiq.actor
def fulfil(order: dict[str, Any]) -> None:
    """The handler."""
    work()


def enqueue(orders: list[dict[str, Any]]) -> None:
    """One by one: there is no call for many."""
    for order in orders:
        fulfil.send(order)
