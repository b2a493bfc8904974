"""What a claimed entry is: an order, or none; and whether it may start now."""

from __future__ import annotations

import msgspec

from fulfillment_worker.core.decide import RetryPolicy
from fulfillment_worker.core.decode import Undecodable, decode
from fulfillment_worker.core.exchange import Claimed
from fulfillment_worker.core.order import Order
from fulfillment_worker.core.outcome import Dead, DeadReason, Scheduled
from fulfillment_worker.core.timing import TimeRules, not_yet, too_late
from fulfillment_worker.worker.delivery import Delivery


class OrderRules(msgspec.Struct, frozen=True, kw_only=True):
    """How entries are read and failures are retried. max_bytes: of one entry.

    times: None where orders have none that matter, as nearly always.
    """

    id_field: str
    max_bytes: int
    retry: RetryPolicy
    times: TimeRules | None = None


def take_in(claimed: Claimed, rules: OrderRules, queue: str) -> Order | Dead:
    """The order, or what becomes of an entry that is none."""
    read = decode(claimed.raw, id_field=rules.id_field, max_bytes=rules.max_bytes)
    known = claimed.order_id or claimed.begun
    if isinstance(read, Undecodable):
        return Dead(claimed.delivery, known, claimed.failures, read.why, DeadReason.INVALID)
    return Order(
        id=known or read.id,
        attempt=claimed.failures + 1,
        body=read.body,
        raw=claimed.raw,
        queue=queue,
        enqueued_unix=read.enqueued_unix,
        traceparent=read.traceparent,
        tracestate=read.tracestate,
    )


def check_times(delivery: Delivery, order: Order, times: TimeRules, now: int) -> Scheduled | None:
    """What becomes of an order that may not start yet. now: Redis time in ms.

    One that may not start any more is told so (`too_late`). That counts once it may begin, since it
    may be a copy of an order that was fulfilled.
    """
    delivery.too_late = too_late(order.body, times, now, delivery.claimed.first_seen)
    # One that waited for its time until it was too old must not wait on.
    at = None if delivery.too_late else not_yet(order.body, times, now)
    return None if at is None else Scheduled(delivery.id, order.id, order.attempt, at)
