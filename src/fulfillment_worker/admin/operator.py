"""What an operator does to a queue: work on dead letters; pause, resume and limit it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from enum import IntEnum
from typing import Any

import msgspec
from redis.asyncio import Redis

from fulfillment_worker.admin.dead_letters import read_letter, read_letters
from fulfillment_worker.admin.presence import is_known
from fulfillment_worker.admin.redis_client import answered, call
from fulfillment_worker.admin.rules.causes import DeadLetter
from fulfillment_worker.admin.rules.pacing import Course, Progress, progress_of
from fulfillment_worker.admin.rules.wishes import Wished
from fulfillment_worker.admin.whereabouts import Failure, failures
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.limits import Limits, changed, read_limits
from fulfillment_worker.core.text import text_of
from fulfillment_worker.queue import keys
from fulfillment_worker.queue.library import Function, keys_in_policy
from fulfillment_worker.queue.redis_queue import FUNCTION_KEYS, QueuePolicy

MOST_LETTERS = 500
"""As many as one function may touch, so that Redis is never busy for long."""

_COURSES_KEPT_FOR = 7 * 86_400_000  # ms
# Only what the functions that an operator calls don't use is made up here.
_POLICY = QueuePolicy(lease=0, status_ttl=0, max_orphanings=1, id_field="")


_pack = msgspec.msgpack.Encoder().encode
Advance = Callable[[list[int]], object]


class Act(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operator did. at: Unix ms of Redis's clock. order_id or count: to which, or how many.

    act: `hold`, `release`, `cancel`, `retry`, `drop`, `edit`, `erase`, `pause`, `resume`, `limit`.
    what: is changed, in words. before: the bytes that an edited letter had, while they are kept.
    """

    queue: str
    at: int
    by: str
    act: str
    order_id: str | None = None
    count: int | None = None
    what: str | None = None
    why: str | None = None
    before: bytes | None = None


class Noted(msgspec.Struct, frozen=True):
    """What the audit tells of a command so far. entry: its id there, "" for none."""

    entry: str = ""
    count: int = 0


class Edited(IntEnum):
    """What became of an edit."""

    GONE = 0  # the letter isn't there any more
    DONE = 1
    CHANGED = 2  # it has other bytes by now
    DAMAGED = 3  # what is known of it can't be read


def _wished(was: bytes, wish: bytes, worker: bytes, many: int = 0) -> Wished:
    return Wished(text_of(was), text_of(wish), text_of(worker), many)


def _act(queue: str, fields: dict[bytes, bytes]) -> Act:
    told = {name.decode(): value.decode(errors="replace") for name, value in fields.items()}
    count = told.get("count")
    return Act(
        queue=queue,
        at=int(told.get("at", 0)),
        by=told.get("by", ""),
        act=told.get("act", ""),
        order_id=told.get("order_id"),
        count=int(count) if count and count.isdecimal() else None,
        what=told.get("what"),
        why=told.get("why"),
    )


class Operator:
    """Works on one queue. Every method raises QueueUnavailable."""

    def __init__(
        self, client: Redis, queue: str, url: RedisUrl, *, by: str = "", why: str = ""
    ) -> None:
        """by, why: who acts, and for what reason, as the audit tells it; "" for no reason."""
        self.queue = queue
        self._by = by.encode()
        self._why = why.encode()
        self._client: Any = client
        self._url = url
        self._keys = [key(queue) for key in FUNCTION_KEYS]
        self._policy = _pack(
            msgspec.to_builtins(_POLICY)
            | keys_in_policy(queue)
            | {
                "audit": keys.audit(queue),
                "edited_prefix": keys.edited_prefix(queue),
                "courses": keys.courses(queue),
            }
        )

    async def is_known(self) -> bool:
        """Whether an order was ever placed on the queue, or a worker has served it."""
        return await is_known(self._client, self.queue, self._url)

    async def letter(self, number: int) -> DeadLetter | None:
        """The dead letter with this number, in one command; None where it isn't there."""
        async with answered(self._url):
            letter: bytes | None = await self._client.hget(keys.dead(self.queue), number)
        if letter is None:
            return None
        header, _, raw = letter.partition(b"\n")
        return read_letter(self.queue, number, header, len(raw))

    def letters(self, order_ids: Collection[str] = ()) -> AsyncIterator[DeadLetter]:
        """See `read_letters`."""
        return read_letters(self._client, self.queue, self._url, order_ids)

    async def read(self, number: int) -> bytes | None:
        """The exact bytes of the letter, or None where it isn't there."""
        async with answered(self._url):
            letter: bytes | None = await self._client.hget(keys.dead(self.queue), number)
        return None if letter is None else letter.partition(b"\n")[2]

    async def history(self, order_id: str) -> tuple[list[Failure], str]:
        """The attempts of an order that failed, and the last one's traceback ("" for none).

        They are there as long as the order's status is kept.
        """
        async with answered(self._url):
            told, traceback = await self._client.hmget(
                keys.order(self.queue, order_id), "history", "traceback"
            )
        return list(failures(told or b"")), text_of(traceback or b"")

    async def retry_dead(
        self, numbers: Sequence[int], advance: Advance, order_id: str = ""
    ) -> None:
        """Put letters back, due at once, their failures forgiven.

        advance: told the numbers of those that Redis confirmed, after each batch. order_id: of the
        order, where it is one letter; the audit names it.
        """
        await self._in_batches(Function.RETRY_DEAD, numbers, advance, order_id)

    async def retry_some(
        self, numbers: Sequence[int], noted: Noted, order_id: str = ""
    ) -> tuple[list[int], Noted]:
        """Put some letters back, and tell of it together with what the same command did before.

        Returns the numbers of those that Redis confirmed, and what is noted by now. `try_rights`
        comes first, once.
        """
        done: list[int] = []
        while numbers:
            batch, entry = list(numbers[:MOST_LETTERS]), noted.entry.encode()
            said = _pack(batch), self._by, self._why, order_id.encode(), entry, b"%d" % noted.count
            seen, some, told = await self._call(Function.RETRY_DEAD, *said)
            done += map(int, some)
            numbers, noted = numbers[seen:], Noted(text_of(told), noted.count + len(some))
        return done, noted

    async def courses(self) -> dict[str, Course]:
        """Where the paced retries of dead letters stand, by their names."""
        async with answered(self._url):
            told = await self._client.hgetall(keys.courses(self.queue))
        return {
            text_of(name): msgspec.json.decode(text, type=Course) for name, text in told.items()
        }

    async def keep_course(self, name: str, course: Course) -> None:
        """Note where a paced retry stands, for a week."""
        key = keys.courses(self.queue)
        async with answered(self._url):
            await self._client.hset(key, name, msgspec.json.encode(course))
            await self._client.pexpire(key, _COURSES_KEPT_FOR)

    async def end_course(self, name: str) -> None:
        """Forget a paced retry: it is over."""
        async with answered(self._url):
            await self._client.hdel(keys.courses(self.queue), name)

    async def follow(self, order_ids: Sequence[str]) -> list[Progress]:
        """How the orders of letters that were retried first are doing."""
        async with answered(self._url):
            pipe = self._client.pipeline(transaction=False)
            for order_id in order_ids:
                pipe.hmget(keys.order(self.queue, order_id), "status", "error", "reason")
            told = await pipe.execute()
        return [progress_of(*(text_of(value or b"") for value in values)) for values in told]

    async def drop_dead(self, numbers: Sequence[int], advance: Advance, order_id: str = "") -> None:
        """Remove letters for ever, and count them as dropped. Otherwise as `retry_dead`."""
        await self._in_batches(Function.DROP_DEAD, numbers, advance, order_id)

    async def edit_dead(self, number: int, old: bytes, new: bytes, order_id: str) -> Edited:
        """Give a letter the bytes `new`, if it still has those that are `old`.

        order_id: that of the order in `new`. The old bytes are kept for a week: see `acts`.
        """
        await self._call(Function.RIGHTS)
        said = b"%d" % number, self._by, self._why, old, new, order_id.encode()
        return Edited(await self._call(Function.EDIT_DEAD, *said))

    async def hold(self, order_id: str) -> Wished:
        """Keep an order from being handled, wherever it is, also before it has arrived."""
        return _wished(*await self._act(Function.HOLD, order_id))

    async def cancel(self, order_id: str, status_ttl: int, letters: Sequence[int] = ()) -> Wished:
        """End an order, wherever it is, also before it has arrived.

        status_ttl: ms for which its status is kept then. letters: its dead letters, which end with
        it where it is dead.
        """
        said = b"%d" % status_ttl, _pack(list(letters))
        was, wish, worker, many, more = await self._act(Function.CANCEL, order_id, *said)
        while more:
            *_, some, more = await self._act(Function.CANCEL, order_id, *said)
            many += some
        return _wished(was, wish, worker, many)

    async def release(self, order_id: str) -> Wished:
        """Make a held order due at once, or take back what is wished for it."""
        was, wish, many, more = await self._act(Function.LET_GO, order_id)
        while more:
            *_, some, more = await self._act(Function.LET_GO, order_id)
            many += some
        return _wished(was, wish, b"", many)

    async def try_rights(self) -> None:
        """Find out whether a right is lacking: a function isn't undone when it ends midway."""
        await self._call(Function.RIGHTS)

    async def keep_wish(self, order_id: str) -> None:
        """Keep what is wished for an order for as long as it takes: it has arrived, and waits."""
        await self._call(Function.KEEP_WISH, order_id.encode())

    async def statuses(self, order_ids: Sequence[str]) -> list[tuple[str, str]]:
        """The orders' statuses and what is wished for them, "" for none."""
        async with answered(self._url):
            pipe = self._client.pipeline(transaction=False)
            for order_id in order_ids:
                pipe.hmget(keys.order(self.queue, order_id), "status", "wish")
            told = await pipe.execute()
        return [(text_of(status or b""), text_of(wish or b"")) for status, wish in told]

    async def erase(self, order_id: str, found: Any) -> list[int]:
        """Remove what was found of an order (admin/eraser.py).

        Returns whether a worker holds it, and how many orders, events and acts are gone.
        """
        said = order_id.encode(), self._by, self._why, _pack(found)
        removed: list[int] = await self._call(Function.ERASE, *said)
        return removed

    async def note(self, act: str, count: int) -> None:
        """Write an act into the audit."""
        await self._call(Function.NOTE, act.encode(), self._by, self._why, b"%d" % count)

    async def acts(self, most: int) -> list[Act]:
        """The last acts of operators, the first first."""
        async with answered(self._url):
            told = await self._client.xrevrange(keys.audit(self.queue), count=most)
            acts = [_act(self.queue, fields) for _, fields in reversed(told)]
            edits = [(n, each) for n, each in enumerate(acts) if each.act == "edit"]
            pipe = self._client.pipeline(transaction=False)
            for n, each in edits:
                pipe.hget(keys.edited(self.queue, each.order_id or ""), told[-1 - n][0])
            before = await pipe.execute() if edits else []
        for (n, each), raw in zip(edits, before, strict=True):
            if raw is not None:
                acts[n] = msgspec.structs.replace(each, before=raw)
        return acts

    async def pause(self) -> bool:
        """Forbid all workers to claim. Returns whether they were allowed to before."""
        return bool(await self._call(Function.PAUSE, b"1", self._by, self._why) != b"1")

    async def resume(self) -> bool:
        """Allow claiming. Returns whether it was forbidden before."""
        return bool(await self._call(Function.PAUSE, b"0", self._by, self._why) == b"1")

    async def limits(self) -> Limits:
        """The limits of the fleet."""
        return read_limits(await self._kept_limits())

    @staticmethod
    def check_limits(was: Limits, changes: dict[str, Any]) -> None:
        """Raise ValueError where the changes make no sense."""
        changed(was, changes)

    async def set_limits(self, changes: dict[str, Any], what: str) -> tuple[Limits, Limits]:
        """Set some of the limits, or lift them (None); returns those of before, and the new ones.

        changes: values of fields of Limits. what: the same in words, for the audit. Raises
        ValueError where they make no sense together.
        """
        while True:
            kept = await self._kept_limits()
            was = read_limits(kept)
            now = changed(was, changes)
            said = kept or b"", now.kept(), self._by, self._why, what.encode()
            if now == was or await self._call(Function.LIMIT, *said):
                return was, now

    async def _kept_limits(self) -> bytes | None:
        async with answered(self._url):
            kept: bytes | None = await self._client.hget(keys.books(self.queue), "limits")
        return kept

    async def _in_batches(
        self, function: Function, numbers: Sequence[int], advance: Advance, order_id: str
    ) -> None:
        await self.try_rights()
        start = 0
        while start < len(numbers):
            batch = list(numbers[start : start + MOST_LETTERS])
            said = _pack(batch), self._by, self._why, order_id.encode()
            seen, done, *_ = await self._call(function, *said)
            start += seen
            advance([int(number) for number in done])

    async def _act(self, function: Function, order_id: str, *said: bytes) -> list[Any]:
        told: list[Any] = await self._call(function, order_id.encode(), self._by, self._why, *said)
        return told

    async def _call(self, function: Function, *args: bytes) -> Any:
        said = len(self._keys), *self._keys, self._policy, "", *args
        return await call(self._client, self._url, function, *said)
