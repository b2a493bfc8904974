"""What is known of dead letters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any

import msgspec

from fulfillment_worker.admin.redis_client import call
from fulfillment_worker.admin.rules.causes import DeadLetter
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.queue import keys
from fulfillment_worker.queue.library import Function

_pack = msgspec.msgpack.Encoder().encode


class _Header(msgspec.Struct):
    order_id: str = ""
    reason: str = "unknown"
    error: str = ""
    at: int | float = 0
    worker: str = ""
    failures: int | float = 0
    orphanings: int | float = 0
    first_seen: int | float = 0
    edited: int | float | None = None


async def read_letters(
    client: Any, queue: str, url: RedisUrl, order_ids: Collection[str] = ()
) -> AsyncIterator[DeadLetter]:
    """All dead letters, in no order; one that comes or goes meanwhile may be left out.

    order_ids: only the letters of these orders; Redis picks them, and sends no others.
    Raises QueueUnavailable.
    """
    cursor, seen = b"0", set[int]()
    wanted = _pack(list(order_ids))
    while True:
        said = 1, keys.dead(queue), cursor, wanted
        cursor, told = await call(client, url, Function.LETTERS, *said)
        for number, header, size in zip(*[iter(told)] * 3, strict=True):
            if int(number) not in seen:
                letter = read_letter(queue, int(number), header, size)
                if not order_ids or letter.order_id in order_ids:
                    yield letter
            seen.add(int(number))
        if cursor == b"0":
            return


def read_letter(queue: str, number: int, header: bytes, size: int) -> DeadLetter:
    """What is known of one, from its header. size: of the order, in bytes."""
    told = _read_header(header)
    return DeadLetter(
        queue=queue,
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
        edited=None if told.edited is None else int(told.edited),
    )


def _read_header(header: bytes) -> _Header:
    """What is told of a letter; a person wants to see one with a damaged header all the same."""
    try:
        return msgspec.json.decode(header.decode(errors="replace"), type=_Header)
    except msgspec.MsgspecError:
        return _Header(error="its header is damaged")
