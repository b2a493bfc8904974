"""Reads what is in a queue's keys, however much that is.

No single command keeps Redis busy for long: a few entries are read first, and more where they are
small.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

from fulfillment_worker.admin.redis_client import answered
from fulfillment_worker.admin.stride import Stride
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.decode import Decoded, decode
from fulfillment_worker.core.text import text_of
from fulfillment_worker.queue import keys

_ANY_SIZE = 2**40


class Reader:
    """Of one queue. Every method raises QueueUnavailable."""

    def __init__(self, client: Any, queue: str, url: RedisUrl, id_field: str) -> None:
        """id_field: of the orders, that holds their ids."""
        self.queue = queue
        self._client = client
        self._url = url
        self._id_field = id_field

    async def ask(self, put: Callable[[Any], object]) -> list[Any]:
        """The answers to all commands that `put` puts into a pipeline."""
        async with answered(self._url):
            pipe = self._client.pipeline(transaction=False)
            put(pipe)
            answers: list[Any] = await pipe.execute()
        return answers

    async def list(self, name: str) -> AsyncIterator[tuple[int, bytes]]:
        """The entries of a list with their places, 1 for the right end, from left to right.

        Orders leave on the right and come on the left, so that none is passed over: one that came
        meanwhile only moves the others to where they are seen again, and nearer their turn.
        """
        start = length = 0
        stride = Stride()
        while start <= length:
            end = start + stride.many
            length, entries = await self.ask(
                lambda pipe, start=start, end=end: pipe.llen(name).lrange(name, start, end - 1)  # type: ignore[misc]
            )
            for place, entry in enumerate(stride.note(entries), start):
                yield length - place, entry
            start = end

    async def internal(self) -> AsyncIterator[tuple[str | None, bytes]]:
        """The entries that were received, and the worker's name where one holds it."""
        async for _, entry in self.list(keys.suspects(self.queue)):
            yield None, entry
        async for entry in self.retries():
            yield None, entry
        for part in (keys.set_aside, keys.parked, keys.held):
            async for entry in self._scan(part(self.queue)):
                yield None, entry
        async for worker, entry in self.in_flight():
            yield worker, entry

    async def in_flight(self) -> AsyncIterator[tuple[str, bytes]]:
        """The entries that workers hold, and who does."""
        (workers,) = await self.ask(lambda pipe: pipe.zrange(keys.leases(self.queue), 0, -1))
        for worker in map(text_of, workers):
            name = keys.in_flight(self.queue, worker)
            async for entry in self._values(name):
                yield worker, entry

    async def _values(self, name: str) -> AsyncIterator[bytes]:
        """Those of a hash whose fields are few."""
        (fields,) = await self.ask(lambda pipe: pipe.hkeys(name))
        stride = Stride()
        while fields:
            some, fields = fields[: stride.many], fields[stride.many :]
            (values,) = await self.ask(lambda pipe, some=some: pipe.hmget(name, some))  # type: ignore[misc]
            for value in stride.note([value for value in values if value is not None]):
                yield value

    async def _scan(self, name: str) -> AsyncIterator[bytes]:
        """The values of a hash of any size; some perhaps twice."""
        cursor, stride = 0, Stride()
        while True:
            ((cursor, found),) = await self.ask(
                lambda pipe, cursor=cursor, count=stride.many: pipe.hscan(  # type: ignore[misc]
                    name, cursor, count=count
                )
            )
            for value in stride.note(list(found.values())):
                yield value
            if not int(cursor):
                return

    async def retries(self) -> AsyncIterator[bytes]:
        start, stride = 0, Stride()
        while True:
            end = start + stride.many
            (entries,) = await self.ask(
                lambda pipe, start=start, end=end: pipe.zrange(  # type: ignore[misc]
                    keys.retry(self.queue), start, end - 1
                )
            )
            for entry in stride.note(entries):
                yield entry
            if len(entries) < end - start:
                return
            start = end

    def match(self, raw: bytes, order_ids: Collection[str]) -> str | None:
        """The id of the order with these bytes, if it is one of these."""
        # An id stands in JSON as it is, unless it is escaped; this spares decoding nearly all.
        if b"\\" not in raw and not any(order_id.encode() in raw for order_id in order_ids):
            return None
        read = self.decoded(raw)
        return read.id if read and read.id in order_ids else None

    def decoded(self, raw: bytes) -> Decoded | None:
        """What the bytes say, of whatever size; None where they are no order."""
        read = decode(raw, id_field=self._id_field, max_bytes=_ANY_SIZE)
        return read if isinstance(read, Decoded) else None
