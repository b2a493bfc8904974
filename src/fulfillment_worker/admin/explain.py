"""Why an order is where it is, in words."""

from __future__ import annotations

from fulfillment_worker.admin.rules.why import Standing, why_it_waits, wished, withdrawn
from fulfillment_worker.admin.whereabouts import OrderLocation


def why(order: OrderLocation, queue: Standing | None, since: str) -> str:
    """Why it is where it is, without a full stop; "" where it has ended.

    queue: None where that can't be told. since: when it was held or cancelled, as people read it.
    """
    waits = ""
    if order.status in ("held", "cancelled"):
        waits = withdrawn(order.status, since, order.by, order.reason)
    elif queue is not None:
        waits = why_it_waits(
            order.status,
            queue,
            position=order.position,
            started_at=order.started_at,
            next_attempt_at=order.next_attempt_at,
            attempt=order.attempt,
            reason=order.reason,
            waits_for=order.waits_for,
            held_by=[(holder.order_id, holder.worker) for holder in order.held_by],
        )
    wish = wished(order.status, order.wish, order.wish_by, order.wish_why)
    return "; ".join(filter(None, (waits, wish)))
