"""For which key an order waits, and which orders hold it."""

from __future__ import annotations

from typing import Any

import msgspec

from fulfillment_worker.admin.reader import Reader
from fulfillment_worker.core.decode import NotJson, parse
from fulfillment_worker.core.limits import Limits, key_of, read_limits
from fulfillment_worker.core.text import text_of
from fulfillment_worker.queue import keys

_MOST_HOLDERS = 10


class Holder(msgspec.Struct, frozen=True):
    """An order in flight. order_id: "" where its bytes don't tell."""

    order_id: str
    worker: str


class KeyWaits:
    """Asks one queue about keys. Every method raises QueueUnavailable."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._limits = Limits()

    async def look(self) -> bool:
        """Read the limits; returns whether keys are limited."""
        books = keys.books(self._reader.queue)
        (kept,) = await self._reader.ask(lambda pipe: pipe.hget(books, "limits"))
        self._limits = read_limits(kept)
        return self._limits.per_key is not None

    def key_in(self, raw: bytes) -> str | None:
        """The key of an order, None where it has none, or keys are not limited."""
        if self._limits.per_key is None:
            return None
        try:
            return key_of(parse(raw), self._limits.per_key)
        except NotJson:
            return None

    async def holders(self, key: str) -> list[Holder]:
        """Which orders of this key are in flight, where it is at its limit; none where it isn't."""
        name, at_once = keys.key_holders(self._reader.queue), self._limits.at_once
        if at_once is None:
            return []
        members = await self._members(name, key, max(at_once, _MOST_HOLDERS))
        held = [tuple(member.rsplit(b"\0", 2)[1:]) for member in members]
        entries = await self._entries(held)
        holders = [
            Holder(self._id_of(entry), text_of(worker))
            for (worker, _), entry in zip(held, entries, strict=True)
            if entry is not None
        ]
        return holders[:_MOST_HOLDERS] if len(holders) >= at_once else []

    async def _members(self, name: str, key: str, most: int) -> list[bytes]:
        least, beyond = f"[{key}\0".encode(), f"({key}\1".encode()
        (members,) = await self._reader.ask(
            lambda pipe: pipe.zrangebylex(name, least, beyond, start=0, num=most)
        )
        return list(members)

    async def _entries(self, held: list[tuple[Any, ...]]) -> list[bytes | None]:
        prefix = keys.in_flight_prefix(self._reader.queue).encode()
        if not held:
            return []
        return await self._reader.ask(
            lambda pipe: [pipe.hget(prefix + worker, number) for worker, number in held]
        )

    def _id_of(self, entry: bytes) -> str:
        read = self._reader.decoded(entry.partition(b"\n")[2])
        return read.id if read else ""
