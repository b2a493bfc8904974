"""The changes of status of several queues, as their streams of events tell them, oldest first.

Nothing here writes, and no single command keeps Redis busy for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis

from fulfillment_worker.admin.redis_client import answered
from fulfillment_worker.admin.rules.notes import read_note
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.core.text import text_of
from fulfillment_worker.queue import keys
from fulfillment_worker.queue.redis_errors import code_of

_MOST = 500
"""Entries that one command reads."""
_WAIT_MS = 1000
_NUMBERS = ("attempt", "at")
_REFUSALS = ("NOPERM", "UNKNOWN", "WRONGTYPE")


class EventId(NamedTuple):
    """The id of an entry: its time in Unix ms, and its number within that."""

    ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


class StatusChange(msgspec.Struct, frozen=True):
    """A change of status. fields: those of the entry; `attempt` and `at` are numbers, `note` is
    an object.
    """

    id: EventId
    queue: str
    fields: dict[str, Any]

    def told(self) -> dict[str, Any]:
        """All of it, as JSON knows it."""
        name = {"id": str(self.id), "queue": self.queue}
        return name | self.fields | name


class EventStream:
    """Reads the events of queues, each from where the last read ended.

    after: only events after this one are read. `read` and `wait` raise QueueUnavailable, and may be
    called again then.
    """

    def __init__(self, client: Redis, queues: Sequence[str], url: RedisUrl, after: EventId) -> None:
        self._client: Any = client
        self._url = url
        self._cursors = dict.fromkeys(queues, after)
        # On a cluster, one command can't wait for keys in several slots.
        names = [*self._cursors]
        self._groups = [(name,) for name in names] if url.scheme.cluster else [tuple(names)]
        self._waits: dict[tuple[str, ...], asyncio.Task[bool]] = {}

    async def read(self) -> AsyncIterator[list[StatusChange]]:
        """All events that there are by now, in batches; those of several queues by their time."""
        ends = await self._newest()
        pages: dict[str, list[StatusChange]] = {queue: [] for queue in ends}
        while pages:
            for queue in [queue for queue, page in pages.items() if not page]:
                pages[queue] = await self._page(queue, ends[queue])
                if not pages[queue]:
                    del pages[queue]
            batch = _take_sorted(pages)
            for change in batch:
                self._cursors[change.queue] = change.id
            if batch:
                yield batch

    async def wait(self) -> bool:
        """Wait for more events, for a second at most. Returns whether there may be some."""
        for group in self._groups:
            if group not in self._waits:
                self._waits[group] = asyncio.create_task(self._wait_for(group))
        done, _ = await asyncio.wait(self._waits.values(), return_when=asyncio.FIRST_COMPLETED)
        self._waits = {group: task for group, task in self._waits.items() if task not in done}
        errors = [error for task in done if (error := task.exception())]
        if errors:
            raise errors[0]
        return any(task.result() for task in done)

    async def close(self) -> None:
        """Wait no longer. Idempotent."""
        for task in self._waits.values():
            task.cancel()
        await asyncio.gather(*self._waits.values(), return_exceptions=True)
        self._waits = {}

    async def _wait_for(self, queues: tuple[str, ...]) -> bool:
        cursors = {keys.events(queue): str(self._cursors[queue]) for queue in queues}
        async with answered(self._url):
            return bool(await self._client.xread(cursors, count=1, block=_WAIT_MS))

    async def _newest(self) -> dict[str, EventId]:
        """Where a read of each queue ends, however many come meanwhile."""
        async with answered(self._url):
            pipe = self._client.pipeline(transaction=False)
            for queue in self._cursors:
                pipe.xrevrange(keys.events(queue), count=1)
            newest = await pipe.execute()
        return {
            queue: read_id(entries[0][0].decode()) if entries else EventId(0, 0)
            for queue, entries in zip(self._cursors, newest, strict=True)
        }

    async def _page(self, queue: str, end: EventId) -> list[StatusChange]:
        start = self._cursors[queue]
        if start >= end:
            return []
        async with answered(self._url):
            entries = await self._client.xrange(
                keys.events(queue), f"({start}", str(end), count=_MOST
            )
        return [_change(queue, name, fields) for name, fields in entries]


def is_refusal(error: QueueUnavailable) -> bool:
    """Whether Redis answers, and always will answer so: there is nothing to wait for."""
    return code_of(error.__cause__ or error) in _REFUSALS


def read_id(text: str) -> EventId:
    """The id in its text. Raises ValueError."""
    ms, _, number = text.partition("-")
    return EventId(int(ms), int(number))


def _take_sorted(pages: dict[str, list[StatusChange]]) -> list[StatusChange]:
    """Take from the pages what comes before all that isn't read yet, sorted."""
    if not pages:
        return []
    end = min(page[-1].id for page in pages.values())
    taken: list[StatusChange] = []
    for queue, page in pages.items():
        many = sum(change.id <= end for change in page)
        taken += page[:many]
        pages[queue] = page[many:]
    return sorted(taken, key=lambda change: change.id)


def _change(queue: str, name: bytes, fields: dict[bytes, bytes]) -> StatusChange:
    told = {text_of(field): text_of(value) for field, value in fields.items()}
    numbers = {field: _whole(told[field]) for field in _NUMBERS if field in told}
    note = read_note(told["note"]) if "note" in told else None
    objects = {"note": note} if note else {}
    return StatusChange(read_id(name.decode()), queue, told | numbers | objects)


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
