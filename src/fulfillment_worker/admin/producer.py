"""Putting orders on a queue: what any program does, and nothing more than LPUSH."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from redis.asyncio import Redis

from fulfillment_worker.admin.redis_client import answered
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.queue import keys

# One command carries up to so many orders and bytes: enough to make round trips not count, and
# little enough that Redis is never busy for long.
_BATCH_ORDERS = 1000
_BATCH_BYTES = 1024 * 1024


class Producer:
    """Puts orders on one queue, the first given to be claimed first.

    enqueued: how many orders Redis has confirmed. After a QueueUnavailable, up to one batch more
    may be on the queue; to enqueue it again does no harm, since an id is fulfilled only once.
    """

    def __init__(self, client: Redis, queue: str, url: RedisUrl) -> None:
        self.queue = queue
        self.enqueued = 0
        self._client = client
        self._url = url

    async def enqueue(
        self, raws: Iterable[bytes], confirmed: Callable[[int], object] = lambda _: None
    ) -> int:
        """Put `raws` on the queue as they are, and return how many; it takes a batch at a time.

        confirmed: is told the size of each batch that Redis confirmed. Raises QueueUnavailable.
        """
        before = self.enqueued
        for batch in _batches(raws):
            async with answered(self._url):
                # LPUSH pushes its values one by one, so the first stays nearest the right end.
                await self._client.lpush(keys.public(self.queue), *batch)
            self.enqueued += len(batch)
            confirmed(len(batch))
        return self.enqueued - before


def _batches(raws: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for raw in raws:
        if len(batch) == _BATCH_ORDERS or (batch and size + len(raw) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(raw)
        size += len(raw)
    if batch:
        yield batch
