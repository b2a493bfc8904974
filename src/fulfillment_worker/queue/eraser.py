"""Removes every byte of an order from a queue: a person's right to be forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.decode import Decoded, decode
from fulfillment_worker.queue import keys
from fulfillment_worker.queue.letters import read_letters
from fulfillment_worker.queue.operator import Operator
from fulfillment_worker.queue.reader import Reader

_ANY_SIZE = 2**40
_STRIDE = 1000
"""Entries of a stream that are read with one command."""
_LOOKS = 5
"""An order that moves while it is looked for is found by a later look."""


class Traces(msgspec.Struct):
    """What a queue has of one order. held: by which worker it is being handled, None for none.

    waiting: entries of the list. waits: of retries and suspects. letters: numbers of dead letters.
    events, acts: ids of entries in the streams. status: whether it has one. An entry is
    text here: one that isn't UTF-8 is no order, and has no id.
    """

    held: str | None = None
    waiting: list[str] = []
    waits: list[str] = []
    letters: list[int] = []
    events: list[str] = []
    acts: list[str] = []
    status: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing of it."""
        return self == Traces()


class Erased(msgspec.Struct):
    """What went. orders: entries and dead letters. held: by whom it is held, so that it stays."""

    orders: int = 0
    events: int = 0
    acts: int = 0
    status: bool = False
    held: str | None = None


class Eraser:
    """Of one queue. Every method raises QueueUnavailable."""

    def __init__(
        self, client: Any, queue: str, url: RedisUrl, operator: Operator, id_field: str
    ) -> None:
        self.queue = queue
        self._client = client
        self._url = url
        self._operator = operator
        self._id_field = id_field
        self._reader = Reader(client, queue, url)

    async def find(self, order_id: str) -> Traces:
        """All that the queue has of the order now. It reads all that is in the queue."""
        found = Traces()
        for name in (keys.woken(self.queue), keys.public(self.queue)):
            async for _, raw in self._reader.list(name):
                if self._is_of(raw, order_id):
                    found.waiting.append(raw.decode())
        async for worker, entry in self._reader.internal():
            if not self._is_of(entry.partition(b"\n")[2], order_id):
                continue
            if worker is None:
                found.waits.append(entry.decode())
            else:
                found.held = worker
        async for letter in read_letters(self._client, self.queue, self._url, [order_id]):
            found.letters.append(letter.number)
        found.events = [id_ async for id_ in self._entries(keys.events(self.queue), order_id)]
        found.acts = [id_ async for id_ in self._entries(keys.audit(self.queue), order_id)]
        (known,) = await self._reader.ask(
            lambda pipe: pipe.exists(keys.order(self.queue, order_id))
        )
        found.status = bool(known)
        return found

    async def erase(self, order_id: str) -> Erased:
        """Remove all of it. Where a worker holds the order, nothing is removed."""
        erased = Erased()
        for _ in range(_LOOKS):
            found = await self.find(order_id)
            erased.held = found.held
            if found.held or found.is_empty:
                break
            held, orders, events, acts = await self._operator.erase(order_id, found)
            if held:
                continue
            erased.orders += orders
            erased.events += events
            erased.acts += acts
            erased.status = erased.status or found.status
        return erased

    def _is_of(self, raw: bytes, order_id: str) -> bool:
        # An id stands in JSON as it is, unless it is escaped; this spares decoding nearly all.
        if b"\\" not in raw and order_id.encode() not in raw:
            return False
        read = decode(raw, id_field=self._id_field, max_bytes=_ANY_SIZE)
        return isinstance(read, Decoded) and read.id == order_id

    async def _entries(self, stream: str, order_id: str) -> AsyncIterator[str]:
        wanted, last = order_id.encode(), "-"
        while True:
            (entries,) = await self._reader.ask(
                lambda pipe, last=last: pipe.xrange(stream, min=last, count=_STRIDE)  # type: ignore[misc]
            )
            for entry, fields in entries:
                if (fields or {}).get(b"order_id") == wanted:
                    yield entry.decode()
            if len(entries) < _STRIDE:
                return
            last = f"({entries[-1][0].decode()}"
