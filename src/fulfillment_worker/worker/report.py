"""From what became of a delivery to the event that tells of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fulfillment_worker.core.decode import too_large
from fulfillment_worker.core.events import (
    AttemptEnded,
    Event,
    NoteLost,
    OrderExpired,
    OrderInvalid,
    OrderPostponed,
    OrdersFulfilled,
    OrdersReceived,
    OrdersStarted,
    OrderStarted,
)
from fulfillment_worker.core.order import Order
from fulfillment_worker.core.outcome import (
    Dead,
    DeadReason,
    Failed,
    FailureReason,
    Fulfilled,
    Postponed,
    Rejected,
    Requeued,
    Result,
    Retried,
    Scheduled,
    Succeeded,
)
from fulfillment_worker.worker.delivery import Delivery

_LOST_LEASE = "the lease had run out before the result could be recorded"


def received(
    queue: str, worker: str, first_claims: int, oversized: Sequence[int], most: int
) -> list[Event]:
    """Orders left the list: so many were claimed; others, of these sizes, became dead letters."""
    if not first_claims and not oversized:
        return []
    invalid = [OrderInvalid(queue, worker, None, too_large(size, most)) for size in oversized]
    return [OrdersReceived(queue, first_claims + len(oversized)), *invalid]


def started(queue: str, cleared: list[Delivery], now: int) -> OrdersStarted | None:
    """Attempts start at Redis's time `now` in ms. None where none of them is a first one."""
    first = [
        OrderStarted(order.id, order.attempt, _since(order.enqueued_unix, now))
        for delivery in cleared
        if (order := delivery.order)
        and not (delivery.claimed.failures or delivery.claimed.orphanings)
    ]
    return OrdersStarted(queue, first) if first else None


def fulfilled(
    queue: str, worker: str, recorded: list[Delivery], now: int
) -> OrdersFulfilled | None:
    """Successes were recorded at Redis's time `now` in ms. None where there are none."""
    clock = time.monotonic()
    attempts = [
        _success(queue, worker, delivery, delivery.order, clock, now)
        for delivery in recorded
        if delivery.order and type(delivery.outcome) is Fulfilled
    ]
    return OrdersFulfilled(queue, worker, attempts) if attempts else None


def note_lost(queue: str, order_id: str, result: Result) -> NoteLost | None:
    """The handler returned what can't be the order's note."""
    fault = result.fault if isinstance(result, Succeeded) else ""
    return NoteLost(queue, order_id, fault) if fault else None


def _success(
    queue: str, worker: str, delivery: Delivery, order: Order, clock: float, now: int
) -> AttemptEnded:
    return AttemptEnded(
        queue=queue,
        worker=worker,
        order_id=order.id,
        delivery=delivery.id,
        attempt=order.attempt,
        duration=clock - delivery.started,
        end_to_end=_since(order.enqueued_unix, now),
        trace_id=_sampled_trace(order.traceparent),
    )


def postponed(queue: str, worker: str, delivery: Delivery, now: int) -> OrderPostponed | None:
    """An order was put aside until a time, at Redis's time `now` in ms. None for other outcomes."""
    outcome, order = delivery.outcome, delivery.order
    if order is None or not isinstance(outcome, Postponed | Scheduled):
        return None
    ms = outcome.at_ms - now
    if isinstance(outcome, Postponed) and outcome.delay_ms >= 0:
        ms = outcome.delay_ms
    return OrderPostponed(
        queue=queue,
        worker=worker,
        order_id=order.id,
        delivery=delivery.id,
        attempt=order.attempt,
        why=outcome.why if isinstance(outcome, Postponed) else "",
        seconds=max(0, ms) / 1000,
        duration=time.monotonic() - delivery.started if delivery.started else None,
        trace_id=_sampled_trace(order.traceparent),
    )


def failed(queue: str, worker: str, delivery: Delivery, *, kept: bool) -> Event | None:
    """Another outcome was recorded, or (not kept) any was refused, since the lease was lost.

    None for an order that was given back: nothing was attempted.
    """
    outcome, order = delivery.outcome, delivery.order
    if isinstance(outcome, Requeued):
        return None
    if order is None:
        why = outcome.error if isinstance(outcome, Dead) else ""
        return OrderInvalid(queue, worker, delivery.id, why)
    if isinstance(outcome, Dead) and outcome.reason is DeadReason.EXPIRED:
        return OrderExpired(queue, worker, order.id, delivery.id, outcome.error)
    reason, error = _failure(delivery) if kept else (FailureReason.LEASE_LOST, _LOST_LEASE)
    return AttemptEnded(
        queue=queue,
        worker=worker,
        order_id=order.id,
        delivery=delivery.id,
        attempt=order.attempt,
        duration=time.monotonic() - delivery.started,
        reason=reason,
        error=error,
        traceback=_traceback(delivery) if kept else "",
        retry_in=outcome.delay_ms / 1000 if kept and isinstance(outcome, Retried) else None,
        dead=outcome.reason if kept and isinstance(outcome, Dead) else None,
        trace_id=_sampled_trace(order.traceparent),
    )


def _failure(delivery: Delivery) -> tuple[FailureReason | None, str]:
    match delivery.result:
        case Failed(reason=reason, error=error):
            return reason, error
        case Rejected(error=error):
            return FailureReason.REJECTED, error
        case _:
            return None, ""


def _traceback(delivery: Delivery) -> str:
    result = delivery.result
    return result.traceback if isinstance(result, Failed | Rejected) else ""


def _since(unix: float | None, now: int) -> float | None:
    """Seconds from `unix` until `now` (ms). Never negative, whatever the producer's clock says."""
    return None if unix is None else max(0.0, now / 1000 - unix)


def _sampled_trace(traceparent: str | None) -> str | None:
    """The trace id, where the producer's trace is sampled (W3C trace-flags, bit 0)."""
    if traceparent is None or not int(traceparent[-2:], 16) & 1:
        return None
    return traceparent[3:35]
