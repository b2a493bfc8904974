"""Orders of 309 bytes, by the ten thousand."""

from __future__ import annotations

from collections.abc import Iterator

import redis

SIZE = 309
_HEAD = '{"order_id":"A-%08d","items":[{"sku":"MUG-BLUE","quantity":2}],"note":"'
TEMPLATE = _HEAD + "x" * (SIZE - len(_HEAD % 0) - len('"}')) + '"}'
"""With %08d where the number goes; the peers' producers, in any language, are given it."""
_BATCH = 1000


def order(number: int) -> bytes:
    """The order of this number, as a producer writes it."""
    return (TEMPLATE % number).encode()


def fill(client: redis.Redis, many: int, first: int = 0) -> None:
    """Put the orders first, first + 1, ... on the list `orders`."""
    for batch in batches(many, first):
        client.lpush("orders", *[order(number) for number in batch])


def batches(many: int, first: int = 0) -> Iterator[range]:
    """The numbers first, first + 1, ..., a thousand at a time."""
    for start in range(first, first + many, _BATCH):
        yield range(start, min(first + many, start + _BATCH))
