"""Alerts that wake somebody: customers notice now, and a person can mend it."""

from __future__ import annotations

from fulfillment_worker.monitoring.alert import QUEUE, WORKER, A, Alert, AlertSeverity, happened
from fulfillment_worker.monitoring.target import Target, quoted

ERRORS = "job:order_errors_per_orders_processed:ratio_rate"
PROCESSED = "job:orders_processed:rate"
LATE = "job:orders_late_per_orders_completed:ratio_rate"
COMPLETED = "job:orders_completed:rate"
DEPTH = "job:fulfillment_queue_depth:max"

GUARD = 50
"""Orders from which on a ratio means something: of three orders at night, one failing is 33 %."""


def burning_fast(target: Target, ratio: str, rate: str, budget: float) -> str:
    """A month's budget goes in two days (14.4 times too fast), or in five (6 times).

    See "The Site Reliability Workbook", chapter 5, on alerts with several windows: the long one
    says that it matters, the short one that it still goes on.
    """

    def above(window: str, times: float) -> str:
        return f"{target.of(ratio + window)} > {times * budget:.6g}"

    return (
        f"(\n  {above('1h', 14.4)}\n  and\n  {above('5m', 14.4)}\n  or\n"
        f"  {above('6h', 6)}\n  and\n  {above('30m', 6)}\n)\n"
        f"and\n{target.of(rate + '1h')} * 3600 >= {GUARD}"
    )


def _errors(target: Target) -> str:
    return burning_fast(target, ERRORS, PROCESSED, target.error_budget)


def _late(target: Target) -> str:
    return burning_fast(target, LATE, COMPLETED, target.late_budget)


def _no_worker(target: Target) -> str:
    # `absent(up == 1)` would have no labels at all: only a plain selector hands its own on.
    up = target.of("up")
    return f"sum without ({A}) ({up}) == 0\nor\nabsent({up}){_wanted(target)}"


def _wanted(target: Target) -> str:
    """Where a scaler takes away the last worker, that one is missing: orders wait, it knows."""
    if not target.scaled_object:
        return ""
    seen = f"keda_scaler_metrics_value{{scaledObject={quoted(target.scaled_object)}}}"
    return f"\nand on ()\nmax(min_over_time({seen}[{target.window('5m')}])) > 0"


def _old(target: Target) -> str:
    age = target.of("job:fulfillment_queue_oldest_order_age_seconds:max")
    return f"{age} > {target.seconds('5m')}"


def _nothing_received(target: Target) -> str:
    window = target.window("5m")
    received = f"sum without ({A}) (increase({target.of('orders_received_total')}[{window}]))"
    return f"min_over_time({target.of(DEPTH)}[{window}]) > 0\nand ignoring (queue)\n{received} == 0"


def _stuck(target: Target) -> str:
    turned = target.of("fulfillment_worker_last_loop_timestamp_seconds")
    return f"time() - ({turned} > 0) > {target.seconds('30s')}"


def _unaccounted(target: Target) -> str:
    return f"{target.of('job:orders_unaccounted:max')} > 0"


def _rolled_back(target: Target) -> str:
    return happened(target, "fulfillment_queue_rollbacks_total", "30m")


PAGES: tuple[Alert, ...] = (
    Alert(
        name="FulfillmentErrorBudgetBurningFast",
        severity=AlertSeverity.PAGE,
        expr=_errors,
        wait="1m",
        summary="Many orders fail: customers wait for a second attempt, or get nothing.",
        description="{{ $value | humanizePercentage }} of the attempts fail. At this pace the "
        "error budget of a month is gone in days.",
    ),
    Alert(
        name="FulfillmentLateBudgetBurningFast",
        severity=AlertSeverity.PAGE,
        expr=_late,
        wait="1m",
        summary="Many customers wait longer than they were promised.",
        description="{{ $value | humanizePercentage }} of the orders are fulfilled too late. At "
        "this pace the lateness budget of a month is gone in days.",
    ),
    Alert(
        name="FulfillmentNoWorkerUp",
        severity=AlertSeverity.PAGE,
        expr=_no_worker,
        wait="1m",
        summary="No order is fulfilled: no worker can be reached.",
        description="Prometheus reaches no worker of the job {{ $labels.job }}, or knows of none. "
        "Orders wait in the queue; none is lost.",
    ),
    Alert(
        name="FulfillmentOldestOrderTooOld",
        severity=AlertSeverity.PAGE,
        expr=_old,
        wait="1m",
        summary="Customers have waited for minutes, and their orders have not been begun.",
        description=f"The oldest order{QUEUE} has waited for {{{{ $value | humanizeDuration }}}}.",
    ),
    Alert(
        name="FulfillmentNothingReceived",
        severity=AlertSeverity.PAGE,
        expr=_nothing_received,
        wait="1m",
        summary="Orders wait, and no worker takes any: customers get nothing.",
        description=f"{{{{ $value }}}} orders or more{QUEUE} have waited for 5 minutes, in which "
        "no worker received one.",
    ),
    Alert(
        name="FulfillmentWorkerStuck",
        severity=AlertSeverity.PAGE,
        expr=_stuck,
        wait="30s",
        summary="The orders of one worker have stopped; soon they run a second time elsewhere.",
        description=f"The event loop of {WORKER} has not turned for "
        "{{ $value | humanizeDuration }}: a handler blocks it.",
    ),
    Alert(
        name="FulfillmentOrdersUnaccounted",
        severity=AlertSeverity.PAGE,
        expr=_unaccounted,
        wait="",
        summary="Orders may be lost: some customers would never get what they ordered.",
        description=f"{{{{ $value }}}} orders{QUEUE} were received and are in no place and in no "
        "end.",
    ),
    Alert(
        name="FulfillmentQueueRolledBack",
        severity=AlertSeverity.PAGE,
        expr=_rolled_back,
        wait="",
        summary="Orders may be lost, and others run twice: Redis came back with older data.",
        description=f"Redis has fewer orders{QUEUE} than workers have seen before: it was flushed, "
        "or came back with older data.",
    ),
)
