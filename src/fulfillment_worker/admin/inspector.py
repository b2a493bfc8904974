"""Read-only views of a queue for people: where an order is, and how the queue stands.

Nothing here writes, and no single command keeps Redis busy for long.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from redis.asyncio import Redis

from fulfillment_worker.admin.dead_letters import read_letters
from fulfillment_worker.admin.key_waits import KeyWaits
from fulfillment_worker.admin.presence import is_known
from fulfillment_worker.admin.reader import Reader
from fulfillment_worker.admin.redis_client import call
from fulfillment_worker.admin.rules.causes import DeadLetter
from fulfillment_worker.admin.rules.why import Standing
from fulfillment_worker.admin.whereabouts import (
    OrderLocation,
    whereabouts,
    whole,
    with_wish,
)
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.exchange import LimitUse, Survey
from fulfillment_worker.core.limits import NO_LIMITS, Limits, Started, read_limits
from fulfillment_worker.core.text import text_of
from fulfillment_worker.queue import keys
from fulfillment_worker.queue.library import Function

_HEARD_WITHIN_MS = 60_000
_LAST_ACTS = 100
"""Acts of operators among which the pause is looked for: more are seldom made while it lasts."""
_COUNTERS = (b"received", b"fulfilled", b"duplicates", b"dropped", b"cancelled")


class WorkerInfo(msgspec.Struct, frozen=True):
    """A worker. last_heard: Unix ms, or None where it has a lease but has not reported yet.

    breaker_open: it claims nothing or little, since its handler's dependency seems to be down.
    """

    name: str
    last_heard: int | None
    in_flight: int
    breaker_open: bool = False


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """How a queue stands. Times are Unix ms of Redis's clock.

    oldest: since when the order at the head has been waiting; None where none waits or it isn't
    known. received, fulfilled, duplicates, dropped, cancelled: since the queue exists.
    limits, used: of the fleet.
    """

    queue: str
    at: int
    waiting: int
    oldest: int | None
    in_flight: int
    retrying: int
    scheduled: int = 0
    held: int = 0
    dead: int
    paused: bool
    received: int
    fulfilled: int
    duplicates: int
    dropped: int
    cancelled: int = 0
    workers: list[WorkerInfo]
    limits: Limits = NO_LIMITS
    used: LimitUse = LimitUse()

    @property
    def survey(self) -> Survey:
        """The same as workers see it, which knows how to balance the books."""
        names = (name for name in Survey.__struct_fields__ if hasattr(self, name))
        same = {name: getattr(self, name) for name in names}
        return Survey(**same | {"oldest": self.oldest or self.at})


class Inspector:
    """Answers questions about one queue. Every method raises QueueUnavailable."""

    def __init__(
        self, client: Redis, queue: str, url: RedisUrl, *, id_field: str = "order_id"
    ) -> None:
        self.queue = queue
        self._client: Any = client
        self._url = url
        self._reader = Reader(client, queue, url, id_field)
        self._key_waits = KeyWaits(self._reader)

    async def is_known(self) -> bool:
        """Whether an order was ever placed on the queue, or a worker has served it."""
        return await is_known(self._client, self.queue, self._url)

    async def overview(self) -> Overview:
        """How the queue stands now."""
        clock, *told, scheduled, held, parked, holds = await self._read_overview()
        *depths, head, pairs, leases, times = told
        books = dict(zip(pairs[::2], pairs[1::2], strict=True))
        heard = [(name, float(at)) for name, at in zip(times[::2], times[1::2], strict=True)]
        counts = [int(books.get(name, 0)) for name in _COUNTERS]
        received, fulfilled, duplicates, dropped, cancelled = counts
        at = int(clock[0]) * 1000 + int(clock[1]) // 1000
        public, woken, retry, suspects, dead = depths
        workers = _workers(dict(zip(leases, holds, strict=True)), heard, at, books)
        return Overview(
            queue=self.queue,
            at=at,
            waiting=public + woken,
            oldest=await self._since(_known_of(head, received, books), received, at),
            in_flight=sum(worker.in_flight for worker in workers),
            retrying=retry + suspects + parked,
            scheduled=scheduled,
            held=held,
            dead=dead,
            paused=books.get(b"paused") == b"1",
            received=received,
            fulfilled=fulfilled,
            duplicates=duplicates,
            dropped=dropped,
            cancelled=cancelled,
            workers=workers,
            limits=(limits := read_limits(books.get(b"limits"))),
            used=await self._used(limits, books, at, parked),
        )

    async def _used(
        self, limits: Limits, books: dict[bytes, bytes], at: int, parked: int
    ) -> LimitUse:
        started, keyed = 0, 0
        if limits.rate:
            steady = at - int(books.get(b"steps", 0))
            started = Started.read(books.get(b"limit_rate")).lately(limits.rate, steady)
        if limits.per_key:
            (keyed,) = await self._reader.ask(lambda pipe: pipe.zcard(keys.key_holders(self.queue)))
        return LimitUse(started, keyed, parked)

    async def standing(self, now: Overview | None = None) -> Standing:
        """What holds up the orders of this queue now. now: where it has just been read."""
        now = now or await self.overview()
        standing = Standing(
            now=now.at,
            paused=now.paused,
            workers=len(now.workers),
            breakers_open=sum(worker.breaker_open for worker in now.workers),
            limits=now.limits,
            in_flight=now.in_flight,
        )
        if not now.paused:
            return standing
        (acts,) = await self._reader.ask(
            lambda pipe: pipe.xrevrange(keys.audit(self.queue), count=_LAST_ACTS)
        )
        for _, act in acts:
            if act.get(b"act") == b"pause":
                return msgspec.structs.replace(
                    standing,
                    paused_by=text_of(act.get(b"by", b"")),
                    paused_at=whole(text_of(act.get(b"at", b""))),
                    paused_why=text_of(act.get(b"why", b"")),
                )
        return standing

    async def find(self, order_ids: Iterable[str]) -> dict[str, OrderLocation]:
        """Where the orders are; those that the queue doesn't know are left out."""
        wanted = list(order_ids)
        are_keys_limited = await self._key_waits.look()
        found = await self._recorded(wanted)
        # That something is wished for an order doesn't tell where it is.
        missing = {
            order_id
            for order_id in wanted
            if order_id not in found or found[order_id].status == "unknown"
        }
        if missing:
            searched = await self._searched(missing)
            # One that was begun while we searched has a record by now.
            recorded = await self._recorded(missing)
            found |= searched | {
                order_id: with_wish(searched[order_id], record)
                if order_id in searched and record.status == "unknown"
                else record
                for order_id, record in recorded.items()
            }
        if are_keys_limited:
            for order_id, order in found.items():
                if order.waits_for is not None:
                    found[order_id] = await self._held_up(order, order.waits_for)
        return found

    async def _held_up(self, order: OrderLocation, key: str) -> OrderLocation:
        """With the orders for which it waits."""
        holders = await self._key_waits.holders(key)
        return msgspec.structs.replace(order, held_by=holders)

    async def _read_overview(self) -> list[Any]:
        """What the overview is made of, as of one instant."""
        parts = (
            *(keys.public, keys.woken, keys.retry, keys.suspects, keys.dead),
            *(keys.books, keys.leases, keys.workers, keys.scheduled),
            *(keys.held, keys.parked),
        )
        said = len(parts), *(key(self.queue) for key in parts), keys.in_flight_prefix(self.queue)
        answers: list[Any] = await call(self._client, self._url, Function.OVERVIEW, *said)
        return answers

    async def _since(self, head: bytes | None, received: int, now: int) -> int | None:
        """Since when the head has been waiting: as it says, else as the workers noted."""
        if head is None:
            return None
        told = self._reader.decoded(head)
        if told and told.enqueued_unix is not None:
            return min(now, round(told.enqueued_unix * 1000))
        # A note says how many orders had ever arrived by then; the head is the next to be received.
        (notes,) = await self._reader.ask(
            lambda pipe: pipe.zrangebyscore(
                keys.arrivals(self.queue), f"({received}", "+inf", start=0, num=1
            )
        )
        return int(notes[0]) if notes else None

    async def _recorded(self, order_ids: Iterable[str]) -> dict[str, OrderLocation]:
        wanted = list(order_ids)
        records = await self._reader.ask(
            lambda pipe: [pipe.hgetall(keys.order(self.queue, order_id)) for order_id in wanted]
        )
        return {
            order_id: whereabouts(order_id, self.queue, record)
            for order_id, record in zip(wanted, records, strict=True)
            if record
        }

    async def _searched(self, order_ids: set[str]) -> dict[str, OrderLocation]:
        """Orders without a record, wherever they are; in the direction in which orders move."""
        found = await self._waiting(order_ids)
        async for worker, entry in self._reader.internal():
            order_id = self._reader.match(entry.partition(b"\n")[2], order_ids - found.keys())
            if order_id is not None:
                raw = entry.partition(b"\n")[2]
                found[order_id] = OrderLocation(
                    order_id=order_id,
                    queue=self.queue,
                    status="retrying" if worker is None else "claimed",
                    worker=worker,
                    waits_for=self._key_waits.key_in(raw) if worker is None else None,
                )
        return found | await self._dead(order_ids - found.keys())

    async def _dead(self, order_ids: set[str]) -> dict[str, OrderLocation]:
        """Those of the orders that are dead letters: of each, the last one."""
        found: dict[str, DeadLetter] = {}
        if not order_ids:
            return {}
        async for letter in read_letters(self._client, self.queue, self._url, order_ids):
            last = found.get(letter.order_id)
            if last is None or last.number < letter.number:
                found[letter.order_id] = letter
        return {
            order_id: OrderLocation(
                order_id=order_id,
                queue=self.queue,
                status="dead",
                attempt=letter.failures or None,
                worker=letter.worker or None,
                error=letter.error or None,
                finished_at=letter.at or None,
            )
            for order_id, letter in found.items()
        }

    async def _waiting(self, order_ids: set[str]) -> dict[str, OrderLocation]:
        found: dict[str, OrderLocation] = {}
        ahead = 0
        for name in (keys.woken(self.queue), keys.public(self.queue)):
            length = 0
            async for place, raw in self._reader.list(name):
                length = max(length, place)
                order_id = self._reader.match(raw, order_ids)
                if order_id is not None and (ahead == 0 or order_id not in found):
                    found[order_id] = OrderLocation(
                        order_id=order_id,
                        queue=self.queue,
                        status="waiting",
                        position=ahead + place,
                    )
            ahead += length
        return found


def _workers(
    holds: dict[bytes, int],
    heard: list[tuple[bytes, float]],
    now: int,
    books: dict[bytes, bytes],
) -> list[WorkerInfo]:
    """holds: how many orders each worker with a lease has; without one it has none."""
    since = now - _HEARD_WITHIN_MS
    times: dict[bytes, int | None] = dict.fromkeys(holds)
    times |= {name: int(at) for name, at in heard if at >= since or name in times}
    workers = (
        WorkerInfo(text_of(name), last, holds.get(name, 0), b"breaker:" + name in books)
        for name, last in times.items()
    )
    return sorted(workers, key=lambda worker: worker.name)


def _known_of(head: bytes | None, received: int, books: dict[bytes, bytes]) -> bytes | None:
    """The bytes of the head, or the part that workers have noted of a large one."""
    number, _, told = books.get(b"head", b"").partition(b" ")
    return told if head == b"" and number == b"%d" % (received + 1) else head
