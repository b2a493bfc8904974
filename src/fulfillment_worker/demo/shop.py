"""The demo's shop: what its handler does with an order, as the order itself says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from enum import StrEnum

from fulfillment_worker.core.order import Order, Reject, Retry

FATE = "demo"
"""The field of an order that holds its fate; an order without one is fulfilled."""

_QUICK = (0.003, 0.015)
_SLOW = (0.1, 0.4)
_PATIENCE = 0.3


class Fate(StrEnum):
    """What fulfilling an order comes to."""

    PLAIN = "plain"
    SLOW = "slow"
    CRASHES_ONCE = "crashes_once"
    RETRIES_ONCE = "retries_once"
    REJECTED = "rejected"


# So that things happen all the time, and a person can still follow.
_DECK = (
    *(Fate.CRASHES_ONCE, Fate.RETRIES_ONCE, Fate.REJECTED),
    *(Fate.SLOW,) * 3,
    *(Fate.PLAIN,) * 44,
)


def fates(seed: int) -> Iterator[Fate]:
    """A fate for each order, without end: the first is plain, so that one is fulfilled at once."""
    draw = random.Random(f"fates of {seed}")
    yield Fate.PLAIN
    while True:
        yield from draw.sample(_DECK, len(_DECK))


async def fulfil(order: Order) -> None:
    """Pretend to pack and ship an order."""
    fate = order.body.get(FATE)
    await asyncio.sleep(random.uniform(*(_SLOW if fate == Fate.SLOW else _QUICK)))
    if fate == Fate.REJECTED:
        raise Reject("we do not ship to that country")
    if order.attempt > 1:
        return
    if fate == Fate.CRASHES_ONCE:
        raise OSError("no paper")
    if fate == Fate.RETRIES_ONCE:
        raise Retry("carrier is busy", after=_PATIENCE)
