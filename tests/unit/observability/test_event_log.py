"""Which events are logged, at which level, and under which names."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from fulfillment_worker.core.events import (
    CommandSent,
    Event,
    LeaseLost,
    NoteLost,
    OrderDuplicated,
    OrderInvalid,
    OrdersReceived,
    OrdersRecovered,
    OrdersRequeued,
    OrdersStarted,
    OrderStarted,
    QueueLost,
    QueueRegained,
    QueueSurveyed,
)
from fulfillment_worker.core.outcome import DeadReason, FailureReason
from fulfillment_worker.observability.event_log import EventLog
from tests.unit.observability.support import attempt, survey

Logged = tuple[str, str, dict[str, Any]]
_NAMES = {"order_id": "A-1", "delivery_id": "host-1/7", "attempt": 2, "queue": "orders"}


def started(wait: float | None) -> OrdersStarted:
    return OrdersStarted("orders", [OrderStarted("A-1", 1, wait)])


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Any:
    """Tell an event, get what was logged at `level` and above: level, event, fields."""

    def tell(event: Event, level: int = logging.DEBUG) -> list[Logged]:
        caplog.clear()
        with caplog.at_level(level, "fulfillment_worker"):
            EventLog().observe(event)
        return [
            (record.levelname.lower(), record.getMessage(), vars(record)["fields"])
            for record in caplog.records
        ]

    return tell


_FAILED = FailureReason.HANDLER


@pytest.mark.parametrize(
    ("event", "level", "name", "fields"),
    [
        (attempt(trace_id="ab"), "debug", "order_fulfilled", {**_NAMES, "trace_id": "ab"}),
        (
            attempt(reason=_FAILED, error="no paper", retry_in=2.0),
            "warning",
            "order_retried",
            {**_NAMES, "reason": "handler", "error": "no paper", "retry_in": 2.0},
        ),
        (
            attempt(reason=_FAILED, dead=DeadReason.ATTEMPTS_EXHAUSTED),
            "error",
            "order_dead_lettered",
            {**_NAMES, "reason": "handler", "dead": "attempts_exhausted"},
        ),
        (
            attempt(reason=FailureReason.REJECTED, dead=DeadReason.REJECTED),
            "warning",
            "order_dead_lettered",
            {**_NAMES, "dead": "rejected"},
        ),
        (attempt(reason=FailureReason.LEASE_LOST), "warning", "order_fenced", _NAMES),
        (attempt(reason=FailureReason.INTERNAL), "error", "order_attempt_failed", _NAMES),
        (
            OrderInvalid("orders", "host-1", 7, "not JSON"),
            "warning",
            "order_dead_lettered",
            {"delivery_id": "host-1/7", "dead": "invalid", "error": "not JSON"},
        ),
        (
            NoteLost("orders", "A-1", "too large"),
            "warning",
            "order_note_lost",
            {"order_id": "A-1", "queue": "orders", "error": "too large"},
        ),
        (OrdersRecovered("orders", 3, 0), "warning", "orders_recovered", {"count": 3}),
        (OrdersRecovered("orders", 3, 1), "error", "orders_recovered", {"orphaned": 1}),
        (LeaseLost("orders", "host-1", 4), "error", "lease_lost", {"orders": 4}),
        (QueueLost("orders", "refused"), "error", "redis_lost", {"error": "refused"}),
        (QueueRegained("orders", 1.5), "info", "redis_regained", {"away": 1.5}),
        (OrdersReceived("orders", 9), "debug", "orders_received", {"count": 9}),
        (started(None), "debug", "order_started", {"order_id": "A-1"}),
        (OrdersRequeued("orders", "host-1", 2), "debug", "orders_requeued", {"count": 2}),
        (OrderDuplicated("orders", "A-1"), "debug", "order_duplicated", {"order_id": "A-1"}),
        (
            CommandSent("exchange", False, None),
            "debug",
            "redis_command_failed",
            {"operation": "exchange"},
        ),
    ],
)
def test_what_is_logged(
    told: Any, event: Event, level: str, name: str, fields: dict[str, Any]
) -> None:
    ((got_level, got_name, got_fields),) = told(event)
    assert (got_level, got_name) == (level, name)
    assert got_fields.items() >= fields.items()


@pytest.mark.parametrize(
    "event", [QueueSurveyed("orders", survey()), CommandSent("exchange", True, 0.1)]
)
def test_what_is_for_metrics_alone(told: Any, event: Event) -> None:
    assert told(event) == []


@pytest.mark.parametrize(
    "event",
    [
        attempt(),
        OrdersReceived("orders", 9),
        started(0.5),
        OrdersRequeued("orders", "host-1", 2),
        OrderDuplicated("orders", "A-1"),
    ],
)
def test_an_order_that_goes_well_is_not_mentioned_at_info(told: Any, event: Event) -> None:
    assert told(event, logging.INFO) == []


@pytest.mark.parametrize(
    "event",
    [
        attempt(reason=FailureReason.LEASE_LOST),
        OrdersRecovered("orders", 3, 1),
        LeaseLost("orders", "host-1", 4),
        QueueLost("orders", "refused"),
        QueueRegained("orders", 1.5),
    ],
)
def test_outages_say_what_happens_next(told: Any, event: Event) -> None:
    assert told(event)[0][2]["next"]
