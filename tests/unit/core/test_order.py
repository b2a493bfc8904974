"""What handlers see."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fulfillment_worker import Order, Reject, Retry


def order(order_id: str = "A-1", attempt: int = 1, unix: float | None = None) -> Order:
    return Order(
        id=order_id, attempt=attempt, body={}, raw=b"{}", queue="orders", enqueued_unix=unix
    )


def test_the_idempotency_key_is_the_same_for_every_attempt() -> None:
    assert order(attempt=1).idempotency_key == order(attempt=5).idempotency_key == "orders:A-1"


def test_the_idempotency_key_is_fit_for_a_header() -> None:
    key = order("\u00f8 \u2603\u2028%").idempotency_key
    assert key.isascii()
    assert key.isprintable()
    assert " " not in key


def test_different_orders_have_different_keys() -> None:
    assert order("a b").idempotency_key != order("a%20b").idempotency_key


def test_the_time_of_enqueueing() -> None:
    assert order().enqueued_at is None
    assert order(unix=1700000000).enqueued_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


@pytest.mark.parametrize("after", [-1, float("inf"), float("nan")])
def test_a_delay_that_is_none_is_refused(after: float) -> None:
    with pytest.raises(ValueError, match="give seconds, 0 or more"):
        Retry("later", after=after)


def test_reasons() -> None:
    assert str(Retry("later", after=3)) == "later"
    assert str(Reject("never")) == "never"
