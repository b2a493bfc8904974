"""Read-only views of a queue for people: where an order is, and how the queue stands.

Nothing here writes, and no single command keeps Redis busy for long.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from redis.asyncio import Redis

from fulfillment_worker.admin.dead_letters import read_letters
from fulfillment_worker.admin.presence import is_known
from fulfillment_worker.admin.reader import Reader
from fulfillment_worker.admin.redis_client import call
from fulfillment_worker.admin.rules.causes import DeadLetter
from fulfillment_worker.admin.rules.notes import read_note
from fulfillment_worker.admin.rules.why import Standing
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.text import text_of
from fulfillment_worker.queue import keys
from fulfillment_worker.queue.library import Function

_HEARD_WITHIN_MS = 60_000
_ANY_SIZE = 2**40
_LAST_ACTS = 100
"""Acts of operators among which the pause is looked for: more are seldom made while it lasts."""
_COUNTERS = (b"received", b"fulfilled", b"duplicates", b"dropped", b"cancelled")


class Failure(msgspec.Struct, frozen=True):
    """One failed attempt. at: Unix ms."""

    attempt: int
    at: int
    error: str


class OrderLocation(msgspec.Struct, frozen=True, kw_only=True):
    """Where an order is. Times are Unix ms of Redis's clock, None where not known.

    status: the contract's, or `waiting` (on the list) or `claimed` (a worker holds it, and has not
    begun). traceback: of the error, in lines. position: among the waiting ones; 1 is next.
    history: attempts that failed. reason: for which it was postponed last, held or cancelled;
    postponed: how often. note: what the handler returned.
    by: who holds it or has cancelled it (for that reason); held_at: since when it is held.
    wish: `hold` or `cancel` while that has been asked for and not yet taken effect; wish_by,
    wish_why, wish_at: by whom, why and when.
    """

    order_id: str
    queue: str
    status: str
    attempt: int | None = None
    worker: str | None = None
    error: str | None = None
    traceback: str | None = None
    position: int | None = None
    queued_at: int | None = None
    started_at: int | None = None
    finished_at: int | None = None
    next_attempt_at: int | None = None
    reason: str | None = None
    postponed: int | None = None
    by: str | None = None
    held_at: int | None = None
    wish: str | None = None
    wish_by: str | None = None
    wish_why: str | None = None
    wish_at: int | None = None
    history: list[Failure] = []
    note: dict[str, Any] | None = None


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


class Inspector:
    """Answers questions about one queue. Every method raises QueueUnavailable."""

    def __init__(
        self, client: Redis, queue: str, url: RedisUrl, *, id_field: str = "order_id"
    ) -> None:
        self.queue = queue
        self._client: Any = client
        self._url = url
        self._reader = Reader(client, queue, url, id_field)

    async def is_known(self) -> bool:
        """Whether an order was ever placed on the queue, or a worker has served it."""
        return await is_known(self._client, self.queue, self._url)

    async def overview(self) -> Overview:
        """How the queue stands now."""
        clock, *depths, head, pairs, leases, times, scheduled, held = await self._read_overview()
        books = dict(zip(pairs[::2], pairs[1::2], strict=True))
        heard = [(name, float(at)) for name, at in zip(times[::2], times[1::2], strict=True)]
        counts = [int(books.get(name, 0)) for name in _COUNTERS]
        received, fulfilled, duplicates, dropped, cancelled = counts
        at = int(clock[0]) * 1000 + int(clock[1]) // 1000
        public, woken, retry, suspects, dead = depths
        workers = await self._workers(leases, heard, at, books)
        return Overview(
            queue=self.queue,
            at=at,
            waiting=public + woken,
            oldest=await self._since(_known_of(head, received, books), received, at),
            in_flight=sum(worker.in_flight for worker in workers),
            retrying=retry + suspects,
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
        )

    async def standing(self) -> Standing:
        """What holds up the orders of this queue now."""
        now = await self.overview()
        standing = Standing(
            now=now.at,
            paused=now.paused,
            workers=len(now.workers),
            breakers_open=sum(worker.breaker_open for worker in now.workers),
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
                    paused_at=_whole(text_of(act.get(b"at", b""))),
                    paused_why=text_of(act.get(b"why", b"")),
                )
        return standing

    async def find(self, order_ids: Iterable[str]) -> dict[str, OrderLocation]:
        """Where the orders are; those that the queue doesn't know are left out."""
        wanted = list(order_ids)
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
                order_id: _with_wish(searched[order_id], record)
                if order_id in searched and record.status == "unknown"
                else record
                for order_id, record in recorded.items()
            }
        return found

    async def _read_overview(self) -> list[Any]:
        """What the overview is made of, as of one instant."""
        parts = (
            *(keys.public, keys.woken, keys.retry, keys.suspects, keys.dead),
            *(keys.books, keys.leases, keys.workers, keys.scheduled),
            keys.held,
        )
        said = len(parts), *(key(self.queue) for key in parts)
        answers: list[Any] = await call(self._client, self._url, Function.OVERVIEW, *said)
        return answers

    async def _workers(
        self,
        leases: list[bytes],
        heard: list[tuple[bytes, float]],
        now: int,
        books: dict[bytes, bytes],
    ) -> list[WorkerInfo]:
        since = now - _HEARD_WITHIN_MS
        times: dict[bytes, int | None] = dict.fromkeys(leases)
        times |= {name: int(at) for name, at in heard if at >= since or name in times}
        names = [text_of(name) for name in times]
        sizes = await self._sizes(keys.in_flight(self.queue, name) for name in names)
        open_ = [b"breaker:" + name in books for name in times]
        workers = map(WorkerInfo, names, times.values(), sizes, open_)
        return sorted(workers, key=lambda worker: worker.name)

    async def _sizes(self, hashes: Iterable[str]) -> list[int]:
        names = list(hashes)
        return (
            await self._reader.ask(lambda pipe: [pipe.hlen(name) for name in names])
            if names
            else []
        )

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
            order_id: _whereabouts(order_id, self.queue, record)
            for order_id, record in zip(wanted, records, strict=True)
            if record
        }

    async def _searched(self, order_ids: set[str]) -> dict[str, OrderLocation]:
        """Orders without a record, wherever they are; in the direction in which orders move."""
        found = await self._waiting(order_ids)
        async for worker, entry in self._reader.internal():
            order_id = self._reader.match(entry.partition(b"\n")[2], order_ids - found.keys())
            if order_id is not None:
                status = "retrying" if worker is None else "claimed"
                found[order_id] = OrderLocation(
                    order_id=order_id, queue=self.queue, status=status, worker=worker
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


def _whereabouts(order_id: str, queue: str, record: dict[bytes, bytes]) -> OrderLocation:
    fields = {text_of(name): text_of(value) for name, value in record.items()}
    return OrderLocation(
        order_id=order_id,
        queue=queue,
        status=fields.get("status", "unknown"),
        attempt=_whole(fields.get("attempt")),
        worker=fields.get("worker"),
        error=fields.get("error"),
        traceback=fields.get("traceback") or None,
        queued_at=_whole(fields.get("queued_at")),
        started_at=_whole(fields.get("started_at")),
        finished_at=_whole(fields.get("finished_at")),
        next_attempt_at=_whole(fields.get("next_attempt_at")),
        reason=fields.get("reason") or None,
        postponed=_whole(fields.get("postponed")),
        by=fields.get("by") or None,
        held_at=_whole(fields.get("held_at")),
        wish=fields.get("wish"),
        wish_by=fields.get("wish_by") or None,
        wish_why=fields.get("wish_why") or None,
        wish_at=_whole(fields.get("wish_at")),
        history=list(failures(record.get(b"history", b""))),
        note=read_note(fields.get("note", "")),
    )


def _with_wish(found: OrderLocation, record: OrderLocation) -> OrderLocation:
    return msgspec.structs.replace(
        found,
        wish=record.wish,
        wish_by=record.wish_by,
        wish_why=record.wish_why,
        wish_at=record.wish_at,
    )


def failures(history: bytes) -> Iterable[Failure]:
    """The failed attempts in an order's `history`, the first first."""
    for line in history.splitlines():
        try:
            yield msgspec.json.decode(line, type=Failure)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue  # A person wants the rest of the history all the same.


def _known_of(head: bytes | None, received: int, books: dict[bytes, bytes]) -> bytes | None:
    """The bytes of the head, or the part that workers have noted of a large one."""
    number, _, told = books.get(b"head", b"").partition(b" ")
    return told if head == b"" and number == b"%d" % (received + 1) else head


def _whole(text: str | None) -> int | None:
    try:
        return None if text is None else int(float(text))
    except (ValueError, OverflowError):
        return None
