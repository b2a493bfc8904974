"""From what became of a delivery to the event that tells of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from fulfillment_worker.core.decode import too_large
from fulfillment_worker.core.events import (
    AttemptEnded,
    Event,
    NoteLost,
    OrderDuplicated,
    OrderExpired,
    OrderInvalid,
    OrderPostponed,
    OrdersFulfilled,
    OrdersReceived,
    OrdersRequeued,
    OrdersStarted,
    OrderStarted,
    OrderWithdrawn,
)
from fulfillment_worker.core.exchange import Verdict
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
    Withdrawal,
    Withdrawn,
)
from fulfillment_worker.worker.delivery import Delivery

_LOST_LEASE = "the lease had run out before the result could be recorded"


def recorded(
    queue: str,
    worker: str,
    deliveries: list[Delivery],
    now: int,
    obeyed: Mapping[int, Withdrawal],
) -> Iterator[Event]:
    """Outcomes were recorded at Redis's time `now` in ms. obeyed: those of them that ended as an
    operator wishes.
    """
    successes = fulfilled(queue, worker, deliveries, now)
    if successes:
        yield successes
        if len(successes.attempts) == len(deliveries):
            return
    given_back = 0
    for delivery in deliveries:
        became = obeyed.get(delivery.id)
        yield from _ended(queue, worker, delivery, now, became)
        given_back += became is None and isinstance(delivery.outcome, Requeued | Withdrawn)
    if given_back:
        yield OrdersRequeued(queue, worker, given_back)


def _ended(
    queue: str, worker: str, delivery: Delivery, now: int, became: Withdrawal | None
) -> Iterator[Event]:
    """became: what an operator has made of it, in place of the outcome."""
    if isinstance(delivery.outcome, Fulfilled):
        return
    aside: Event | None = postponed(queue, worker, delivery, now)
    if became is not None:
        aside = withdrawn(queue, worker, delivery, became)
    if aside is None or isinstance(delivery.result, Failed | Rejected):
        failure = failed(queue, worker, delivery, kept=True, ended=became is None)
        if failure:
            yield failure
    if aside:
        yield aside


def kept_back(queue: str, worker: str, delivery: Delivery, verdict: Verdict) -> Event | None:
    """An order may not start, and is this worker's no more. None where it only waits its turn."""
    match verdict:
        case Verdict.DUPLICATE:
            return OrderDuplicated(queue, delivery.order.id) if delivery.order else None
        case Verdict.HELD:
            return withdrawn(queue, worker, delivery, Withdrawal.HELD)
        case Verdict.CANCELLED:
            return withdrawn(queue, worker, delivery, Withdrawal.CANCELLED)
        case _:
            return None


def withdrawn(
    queue: str, worker: str, delivery: Delivery, became: Withdrawal
) -> OrderWithdrawn | None:
    """An order was held or cancelled, as an operator wishes. None for what is no order."""
    order = delivery.order
    if order is None:
        return None
    return OrderWithdrawn(
        queue=queue,
        worker=worker,
        order_id=order.id,
        delivery=delivery.id,
        attempt=order.attempt,
        became=became,
        duration=time.monotonic() - delivery.started if delivery.started else None,
        trace_id=_sampled_trace(order.traceparent),
    )


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


def failed(
    queue: str, worker: str, delivery: Delivery, *, kept: bool, ended: bool = True
) -> Event | None:
    """Another outcome was recorded, or (not kept) any was refused, since the lease was lost.

    ended: whether the outcome decided what became of the order, and no operator. None for an order
    that was given back: nothing was attempted.
    """
    outcome, order = delivery.outcome, delivery.order
    if isinstance(outcome, Requeued) or (kept and isinstance(outcome, Withdrawn)):
        return None
    if order is None:
        why = outcome.error if isinstance(outcome, Dead) else ""
        return OrderInvalid(queue, worker, delivery.id, why)
    if isinstance(outcome, Dead) and outcome.reason is DeadReason.EXPIRED:
        return OrderExpired(queue, worker, order.id, delivery.id, outcome.error)
    reason, error = _failure(delivery) if kept else (FailureReason.LEASE_LOST, _LOST_LEASE)
    decides = kept and ended
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
        retry_in=outcome.delay_ms / 1000 if decides and isinstance(outcome, Retried) else None,
        dead=outcome.reason if decides and isinstance(outcome, Dead) else None,
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
