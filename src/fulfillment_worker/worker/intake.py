"""What a claimed entry is: an order that may start, one that may not, or none."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from fulfillment_worker.core.decide import RetryPolicy
from fulfillment_worker.core.decode import Undecodable, decode
from fulfillment_worker.core.exchange import Claimed
from fulfillment_worker.core.order import Order
from fulfillment_worker.core.outcome import Dead, DeadReason, Outcome, Scheduled
from fulfillment_worker.core.timing import not_yet, too_late


class OrderRules(msgspec.Struct, frozen=True, kw_only=True):
    """How entries are read and failures are retried. max_bytes: of one entry.

    max_age: seconds since an order was first seen, after which it is not tried. not_before_field,
    expires_field: see core/decode.py. None where there is none.
    """

    id_field: str
    max_bytes: int
    retry: RetryPolicy
    max_age: float | None = None
    not_before_field: str | None = None
    expires_field: str | None = None


class Intake(NamedTuple):
    """order: None where the entry is none. outcome: what becomes of it without asking, if anything.

    too_late: why it must not start, "" where it may. That counts once it may begin, since it may be
    a copy of an order that was fulfilled.
    """

    order: Order | None
    outcome: Outcome | None = None
    too_late: str = ""


def take_in(claimed: Claimed, rules: OrderRules, queue: str, now: int) -> Intake:
    """What a claimed entry is. now: Redis time in ms."""
    read = decode(
        claimed.raw,
        id_field=rules.id_field,
        max_bytes=rules.max_bytes,
        not_before_field=rules.not_before_field,
        expires_field=rules.expires_field,
    )
    known = claimed.order_id or claimed.begun
    if isinstance(read, Undecodable):
        invalid = DeadReason.INVALID
        return Intake(None, Dead(claimed.delivery, known, claimed.failures, read.why, invalid))
    order = Order(
        id=known or read.id,
        attempt=claimed.failures + 1,
        body=read.body,
        raw=claimed.raw,
        queue=queue,
        enqueued_unix=read.enqueued_unix,
        traceparent=read.traceparent,
        tracestate=read.tracestate,
    )
    if claimed.begun:
        return Intake(order)
    why = too_late(
        read,
        now,
        first_seen=claimed.first_seen,
        max_age=rules.max_age,
        expires_field=rules.expires_field,
    )
    # One that waited for its time until it was too old must not wait on.
    at = None if why else not_yet(read, now)
    if at is not None:
        return Intake(order, Scheduled(claimed.delivery, order.id, order.attempt, at))
    return Intake(order, too_late=why)
