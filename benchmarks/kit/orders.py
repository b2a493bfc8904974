"""Orders of 309 bytes, by the ten thousand."""

from __future__ import annotations

from collections.abc import Iterator

import redis

SIZE = 309
_HEAD = '{"order_id":"A-%08d","items":[{"sku":"MUG-BLUE","quantity":2}],"note":"'
_ORDER = _HEAD + "x" * (SIZE - len(_HEAD % 0) - 2) + '"}'
_BATCH = 1000


def order(number: int) -> bytes:
    """The order of this number, as a producer writes it."""
    return (_ORDER % number).encode()


def fill(client: redis.Redis, many: int, first: int = 0) -> None:
    """Put orders first, first + 1, ... on the list `orders`."""
    for batch in _batches(many, first):
        client.lpush("orders", *[order(number) for number in batch])


def _batches(many: int, first: int) -> Iterator[range]:
    for start in range(first, first + many, _BATCH):
        yield range(start, min(first + many, start + _BATCH))
