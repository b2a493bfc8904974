"""Removes every byte of an order from a queue: a person's right to be forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any

import msgspec

from fulfillment_worker.admin.dead_letters import read_letters
from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.admin.reader import Reader
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.queue import keys

_STRIDE = 1000
"""Entries of a stream that are read with one command."""
_LOOKS = 5
"""An order that moves while it is looked for is found by a later look."""


class Traces(msgspec.Struct):
    """What a queue has of one order. held: by which worker it is being handled, None for none.

    waiting: entries of the list. waits: of retries, suspects, scheduled and held ones. letters:
    numbers of dead letters. events, acts: ids of entries in the streams. status: whether it has
    one. edits: how many times a dead letter of it was edited, so that its bytes of before are kept.
    courses: paced retries of dead letters that wait for it.
    An entry is text here: one that isn't UTF-8 is no order, and has no id.
    """

    held: str | None = None
    waiting: list[str] = []
    waits: list[str] = []
    letters: list[int] = []
    events: list[str] = []
    acts: list[str] = []
    status: bool = False
    edits: int = 0
    courses: list[str] = []

    @property
    def is_free(self) -> bool:
        """Whether there is something of it, and no worker holds it."""
        return self.held is None and self != Traces()


class Erased(msgspec.Struct):
    """What went. orders: entries and dead letters. edits: bytes that letters had before they were
    edited. held: by whom it is held, so that it stays.
    """

    orders: int = 0
    events: int = 0
    acts: int = 0
    status: bool = False
    edits: int = 0
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
        self._reader = Reader(client, queue, url, id_field)

    async def find(self, order_ids: Collection[str]) -> dict[str, Traces]:
        """All that the queue has of these orders now. It reads all that is in the queue, once."""
        found = {order_id: Traces() for order_id in order_ids}
        await self._find_entries(found)
        async for letter in read_letters(self._client, self.queue, self._url, found):
            found[letter.order_id].letters.append(letter.number)
        async for order_id, entry_id in self._entries(keys.events(self.queue), found):
            found[order_id].events.append(entry_id)
        async for order_id, entry_id in self._entries(keys.audit(self.queue), found):
            found[order_id].acts.append(entry_id)
        await self._find_kept(found)
        return found

    async def _find_kept(self, found: dict[str, Traces]) -> None:
        """What is kept under the orders' own ids."""
        known = await self._reader.ask(
            lambda pipe: [pipe.exists(keys.order(self.queue, order_id)) for order_id in found]
        )
        for traces, status in zip(found.values(), known, strict=True):
            traces.status = bool(status)
        edits = await self._reader.ask(
            lambda pipe: [pipe.hlen(keys.edited(self.queue, order_id)) for order_id in found]
        )
        for traces, many in zip(found.values(), edits, strict=True):
            traces.edits = many
        for name, course in (await self._operator.courses()).items():
            for first in course.first:
                if first.order_id in found:
                    found[first.order_id].courses.append(name)

    async def _find_entries(self, found: dict[str, Traces]) -> None:
        for name in (keys.woken(self.queue), keys.public(self.queue)):
            async for _, raw in self._reader.list(name):
                if (order_id := self._reader.match(raw, found)) is not None:
                    found[order_id].waiting.append(raw.decode())
        async for worker, entry in self._reader.internal():
            order_id = self._reader.match(entry.partition(b"\n")[2], found)
            if order_id is not None and worker is None:
                found[order_id].waits.append(entry.decode())
            elif order_id is not None:
                found[order_id].held = worker

    async def erase(self, order_ids: Collection[str]) -> dict[str, Erased]:
        """Remove all of them. Of an order that a worker holds, nothing is removed."""
        erased = {order_id: Erased() for order_id in order_ids}
        left: Collection[str] = erased
        for _ in range(_LOOKS):
            found = await self.find(left)
            for order_id, traces in found.items():
                erased[order_id].held = traces.held
            left = [name for name, traces in found.items() if traces.is_free]
            if not left:
                break
            for order_id in left:
                await self._remove(order_id, found[order_id], erased[order_id])
        return erased

    async def _remove(self, order_id: str, traces: Traces, erased: Erased) -> None:
        is_held, orders, events, acts = await self._operator.erase(order_id, traces)
        if is_held:
            return  # The next look finds it there.
        erased.orders += orders
        erased.events += events
        erased.acts += acts
        erased.status = erased.status or traces.status
        erased.edits += traces.edits

    async def _entries(
        self, stream: str, order_ids: Collection[str]
    ) -> AsyncIterator[tuple[str, str]]:
        """Of the entries that name one of these orders: which, and the entry's id."""
        wanted = {order_id.encode(): order_id for order_id in order_ids}
        last = "-"
        while True:
            (entries,) = await self._reader.ask(
                lambda pipe, last=last: pipe.xrange(stream, min=last, count=_STRIDE)  # type: ignore[misc]
            )
            for entry, fields in entries:
                order_id = wanted.get((fields or {}).get(b"order_id", b""))
                if order_id is not None:
                    yield order_id, entry.decode()
            if len(entries) < _STRIDE:
                return
            last = f"({entries[-1][0].decode()}"
