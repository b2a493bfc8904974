"""What an operator does to a queue: read, retry and drop dead letters; pause and resume."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.causes import Letter
from fulfillment_worker.queue import keys, scripts
from fulfillment_worker.queue.inspector import Failure, failures
from fulfillment_worker.queue.presence import is_known
from fulfillment_worker.queue.redis_queue import RIGHTS, SCRIPT_KEYS, QueuePolicy
from fulfillment_worker.queue.session import answered

RETRY_DEAD = scripts.load("retry_dead", "common", "entries", "clock")
LETTERS = scripts.load("letters", "common")
DROP_DEAD = scripts.load("drop_dead", "common")

MOST_LETTERS = 500
"""As many as one script may touch, so that Redis is never busy for long."""

# Only what isn't of interest to the scripts of an operator is made up here.
_POLICY = QueuePolicy(lease=0, status_ttl=0, max_orphanings=1, id_field="")

_pack = msgspec.msgpack.Encoder().encode
Advance = Callable[[list[int]], object]


class _Header(msgspec.Struct):
    order_id: str = ""
    reason: str = "unknown"
    error: str = ""
    at: int | float = 0
    worker: str = ""
    failures: int | float = 0
    orphanings: int | float = 0
    first_seen: int | float = 0


class Operator:
    """Works on one queue. Every method raises QueueUnavailable."""

    def __init__(self, client: Redis, queue: str, url: RedisUrl) -> None:
        self.queue = queue
        self._client: Any = client
        self._url = url
        self._keys = [key(queue) for key in SCRIPT_KEYS]
        self._policy = _pack(
            msgspec.to_builtins(_POLICY)
            | {"order_prefix": keys.order_prefix(queue), "scratch": keys.scratch(queue)}
        )

    async def is_known(self) -> bool:
        """Whether an order was ever placed on the queue, or a worker has served it."""
        return await is_known(self._client, self.queue, self._url)

    async def letter(self, number: int) -> Letter | None:
        """The dead letter with this number, in one command; None where it isn't there."""
        async with answered(self._url):
            letter: bytes | None = await self._client.hget(keys.dead(self.queue), number)
        if letter is None:
            return None
        header, _, raw = letter.partition(b"\n")
        return self._letter(number, header, len(raw))

    async def letters(self, order_ids: Collection[str] = ()) -> AsyncIterator[Letter]:
        """All dead letters, in no order; one that comes or goes meanwhile may be left out.

        order_ids: only the letters of these orders; Redis picks them, and sends no others.
        """
        cursor, seen = b"0", set[int]()
        while True:
            cursor, told = await self._run(LETTERS, cursor, _pack(list(order_ids)))
            for number, header, size in zip(*[iter(told)] * 3, strict=True):
                if int(number) not in seen:
                    letter = self._letter(int(number), header, size)
                    if not order_ids or letter.order_id in order_ids:
                        yield letter
                seen.add(int(number))
            if cursor == b"0":
                return

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
        return list(failures(told or b"")), (traceback or b"").decode(errors="backslashreplace")

    async def retry_dead(self, numbers: Sequence[int], advance: Advance) -> None:
        """Put letters back, due at once, their failures forgiven.

        advance: told the numbers of those that Redis confirmed, after each batch.
        """
        await self._in_batches(RETRY_DEAD, numbers, advance)

    async def drop_dead(self, numbers: Sequence[int], advance: Advance) -> None:
        """Remove letters for ever, and count them as dropped. advance: as for `retry_dead`."""
        await self._in_batches(DROP_DEAD, numbers, advance)

    async def pause(self) -> bool:
        """Forbid all workers to claim. Returns whether they were allowed to before."""
        return not await self._was_paused(lambda pipe, books: pipe.hset(books, "paused", 1))

    async def resume(self) -> bool:
        """Allow claiming. Returns whether it was forbidden before."""
        return await self._was_paused(lambda pipe, books: pipe.hdel(books, "paused"))

    async def _was_paused(self, change: Callable[[Any, str], object]) -> bool:
        books = keys.books(self.queue)
        async with answered(self._url):
            pipe = self._client.pipeline(transaction=True)
            pipe.hget(books, "paused")
            change(pipe, books)
            was, _ = await pipe.execute()
        return bool(was == b"1")

    async def _in_batches(
        self, script: scripts.Script, numbers: Sequence[int], advance: Advance
    ) -> None:
        # A script isn't undone when it ends midway: a right that is lacking shows here, at once.
        await self._run(RIGHTS)
        start = 0
        while start < len(numbers):
            batch = list(numbers[start : start + MOST_LETTERS])
            seen, done = await self._run(script, _pack(batch))
            start += seen
            advance([int(number) for number in done])

    async def _run(self, script: scripts.Script, *args: bytes) -> Any:
        async with answered(self._url):
            return await self._client.execute_command(
                "EVAL", script.text, len(self._keys), *self._keys, self._policy, "", *args
            )

    def _letter(self, number: int, header: bytes, size: int) -> Letter:
        told = _read_header(header)
        return Letter(
            queue=self.queue,
            number=number,
            order_id=told.order_id,
            reason=told.reason,
            error=told.error,
            at=int(told.at),
            worker=told.worker,
            failures=int(told.failures),
            orphanings=int(told.orphanings),
            first_seen=int(told.first_seen),
            size=size,
        )


def _read_header(header: bytes) -> _Header:
    """What is told of a letter; a person wants to see one with a damaged header all the same."""
    try:
        return msgspec.json.decode(header.decode(errors="replace"), type=_Header)
    except msgspec.MsgspecError:
        return _Header(error="its header is damaged")
