"""What workers hold now, and for how long.

Nothing here writes, and no single command keeps Redis busy for long.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fulfillment_worker.admin.reader import Reader
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.text import text_of
from fulfillment_worker.queue import keys

_MOST_BYTES = 8 * 1024**2
"""Of orders that are read: an order has a megabyte at most by default, and a worker holds many."""


class RunningOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that a worker holds. started_at: Unix ms; None where it has not begun.

    order_id: "" where its bytes have none.
    """

    order_id: str
    worker: str
    attempt: int | None = None
    started_at: int | None = None


class Running(msgspec.Struct, frozen=True):
    """orders: those that have run longest come first. complete: whether they are all."""

    orders: list[RunningOrder]
    complete: bool


async def running(
    client: Any, queue: str, url: RedisUrl, id_field: str, *, most: int = 500
) -> Running:
    """What the workers of a queue hold now, `most` orders at most. Raises QueueUnavailable."""
    reader = Reader(client, queue, url, id_field)
    held: list[tuple[str, str]] = []
    size, complete = 0, True
    async for worker, entry in reader.in_flight():
        if len(held) == most or size > _MOST_BYTES:
            complete = False
            break
        order = reader.decoded(entry.partition(b"\n")[2])
        held.append((worker, order.id if order else ""))
        size += len(entry)
    records = await reader.ask(
        lambda pipe: [
            pipe.hmget(keys.order(queue, order_id), "status", "worker", "attempt", "started_at")
            for _, order_id in held
        ]
    )
    orders = [
        _running(worker, order_id, *map(_text, record))
        for (worker, order_id), record in zip(held, records, strict=True)
    ]
    orders.sort(key=lambda order: (order.started_at is None, order.started_at or 0))
    return Running(orders, complete)


def _running(
    worker: str, order_id: str, status: str, by: str, attempt: str, started_at: str
) -> RunningOrder:
    """One whose record tells of another worker, or of another status, has not begun here."""
    if status != "processing" or by != worker:
        return RunningOrder(order_id=order_id, worker=worker)
    return RunningOrder(
        order_id=order_id,
        worker=worker,
        attempt=int(attempt) if attempt.isdecimal() else None,
        started_at=int(started_at) if started_at.isdecimal() else None,
    )


def _text(value: bytes | None) -> str:
    return text_of(value or b"")
