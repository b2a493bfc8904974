"""What a claimed entry is: an order that may start, one that may not, or none."""

from __future__ import annotations

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


def take_in(
    claimed: Claimed, rules: OrderRules, queue: str, now: int
) -> tuple[Order | None, Outcome | None]:
    """The order (None where the entry is none), and what becomes of it without an attempt.

    The latter is None where it may start. now: Redis time in ms.
    """
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
        return None, Dead(claimed.delivery, known, claimed.failures, read.why, invalid)
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
        return order, None
    at = not_yet(read, now)
    if at is not None:
        return order, Scheduled(claimed.delivery, order.id, order.attempt, at)
    why = too_late(
        read,
        now,
        first_seen=claimed.first_seen,
        max_age=rules.max_age,
        expires_field=rules.expires_field,
    )
    expired = DeadReason.EXPIRED
    dead = Dead(claimed.delivery, order.id, claimed.failures, why, expired) if why else None
    return order, dead
