"""Where an order is, as its status hash tells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from fulfillment_worker.admin.key_waits import Holder
from fulfillment_worker.admin.rules.notes import read_note
from fulfillment_worker.core.text import text_of


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
    waits_for: its key, where it waits for that; held_by: orders of the key that are in flight.
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
    waits_for: str | None = None
    held_by: list[Holder] = []
    postponed: int | None = None
    by: str | None = None
    held_at: int | None = None
    wish: str | None = None
    wish_by: str | None = None
    wish_why: str | None = None
    wish_at: int | None = None
    history: list[Failure] = []
    note: dict[str, Any] | None = None


def whereabouts(order_id: str, queue: str, record: dict[bytes, bytes]) -> OrderLocation:
    """As the status hash of an order has it."""
    fields = {text_of(name): text_of(value) for name, value in record.items()}
    return OrderLocation(
        order_id=order_id,
        queue=queue,
        status=fields.get("status", "unknown"),
        attempt=whole(fields.get("attempt")),
        worker=fields.get("worker"),
        error=fields.get("error"),
        traceback=fields.get("traceback") or None,
        queued_at=whole(fields.get("queued_at")),
        started_at=whole(fields.get("started_at")),
        finished_at=whole(fields.get("finished_at")),
        next_attempt_at=whole(fields.get("next_attempt_at")),
        reason=fields.get("reason") or None,
        waits_for=fields.get("waits_for"),
        postponed=whole(fields.get("postponed")),
        by=fields.get("by") or None,
        held_at=whole(fields.get("held_at")),
        wish=fields.get("wish"),
        wish_by=fields.get("wish_by") or None,
        wish_why=fields.get("wish_why") or None,
        wish_at=whole(fields.get("wish_at")),
        history=list(failures(record.get(b"history", b""))),
        note=read_note(fields.get("note", "")),
    )


def with_wish(found: OrderLocation, record: OrderLocation) -> OrderLocation:
    """An order that was found elsewhere, with what an operator wishes for it."""
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


def whole(text: str | None) -> int | None:
    """A whole number, None where the text is none."""
    try:
        return None if text is None else int(float(text))
    except (ValueError, OverflowError):
        return None
