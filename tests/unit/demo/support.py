"""Events and books as the demo gets them."""

from __future__ import annotations

from typing import Any

from fulfillment_worker.core.events import AttemptEnded
from fulfillment_worker.core.exchange import Survey
from fulfillment_worker.core.outcome import DeadReason, FailureReason


def fulfilled(order_id: str, attempt: int = 1, duration: float = 0.012) -> AttemptEnded:
    return _ended(order_id, attempt, duration=duration)


def failed(order_id: str, retry_in: float = 0.2) -> AttemptEnded:
    return _ended(order_id, 1, reason=FailureReason.HANDLER, error="it broke", retry_in=retry_in)


def rejected(order_id: str) -> AttemptEnded:
    return _ended(
        order_id, 1, reason=FailureReason.REJECTED, error="no such SKU", dead=DeadReason.REJECTED
    )


def exhausted(order_id: str, attempt: int) -> AttemptEnded:
    return _ended(
        order_id,
        attempt,
        reason=FailureReason.HANDLER,
        error="it broke",
        dead=DeadReason.ATTEMPTS_EXHAUSTED,
    )


def fenced(order_id: str) -> AttemptEnded:
    return _ended(order_id, 1, reason=FailureReason.LEASE_LOST, error="the lease had run out")


def _ended(order_id: str, attempt: int, duration: float = 0.012, **more: Any) -> AttemptEnded:
    return AttemptEnded(
        queue="orders",
        worker="w",
        order_id=order_id,
        delivery=1,
        attempt=attempt,
        duration=duration,
        **more,
    )


def survey(**counts: Any) -> Survey:
    """Nothing anywhere, but for these counts."""
    others = {"at", "oldest", "limits", "used"}
    none: dict[str, Any] = dict.fromkeys(set(Survey.__struct_fields__) - others, 0)
    return Survey(at=1, oldest=1, **(none | counts))
