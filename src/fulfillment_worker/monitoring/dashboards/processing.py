"""Rate, errors, duration: what becomes of orders, and how fast."""

from __future__ import annotations

from fulfillment_worker.monitoring.dashboards.panel import (
    Colour,
    Panel,
    PanelKind,
    Query,
    Row,
    Unit,
    quantiles,
    warn,
)
from fulfillment_worker.monitoring.target import Target


def processing(target: Target) -> Row:
    """The row, with the objectives drawn in."""
    return Row(
        "Rate, errors, duration",
        "What becomes of orders, and how fast?",
        (
            _ATTEMPTS,
            _ratio(
                "Error ratio over time",
                "order_errors_per_orders_processed",
                target.error_budget,
                "Share of attempts that failed, of the whole job. The line is the objective.",
                "Above the line in both: the budget burns. **Failures by reason** tells why.",
                "FulfillmentErrorBudgetBurningFast",
                "FulfillmentErrorBudgetBurningSlowly",
            ),
            _FAILURES,
            _TOOK,
            _TOOK_HEATMAP,
            _OTHER_WAYS,
            _end_to_end(target),
            _ratio(
                "Late orders over time",
                "orders_late_per_orders_completed",
                target.late_budget,
                f"Share of fulfilled orders that took more than {target.late_after:g} s from "
                "enqueued to fulfilled, of the whole job. The line is the objective.",
                "Above the line: compare **Wait** (too few workers) with **Processing time** (slow "
                "handler) and the retries in **Other ways** (failing handler).",
                "FulfillmentLateBudgetBurningFast",
                "FulfillmentLateBudgetBurningSlowly",
            ),
            _SINCE_LAST,
        ),
    )


_BY_STATUS = (("success", Colour.GREEN), ("error", Colour.RED))
_ATTEMPTS = Panel(
    title="Attempts by outcome",
    runbooks=("FulfillmentNothingReceived",),
    unit=Unit.ATTEMPTS_PER_SECOND,
    shows="Attempts that ended, by how. An order that is retried counts once per attempt.",
    do="Drops to 0 while orders wait: see **Worker state**, **Breaker** and **Redis errors**.",
    queries=(
        Query(
            "sum by (status) (rate(orders_processed_total{worker}[$__rate_interval]))", "{{status}}"
        ),
    ),
    stacked=True,
    colours=_BY_STATUS,
)


def _ratio(title: str, metric: str, budget: float, shows: str, do: str, *alerts: str) -> Panel:
    return Panel(
        title=title,
        unit=Unit.RATIO,
        shows=shows,
        do=do,
        runbooks=alerts,
        queries=tuple(
            Query(f"max(job:{metric}:ratio_rate{window}{{fleet}})", f"over {window}")
            for window in ("5m", "1h")
        ),
        steps=warn(budget),
    )


_FAILURES = Panel(
    title="Failures by reason",
    runbooks=("FulfillmentErrorBudgetBurningFast",),
    unit=Unit.PER_SECOND,
    shows="Failed attempts, and entries that are no order.",
    do="`invalid`: a producer sends rubbish. `handler`, `timeout`: the shop's code. `dependency`: "
    "it asked for a retry, since what it needs is down. `rejected`: it refused the order. "
    "`lease_lost`, `internal`: ours, see the log. `fulfillment-worker dead list` groups what came "
    "of it by cause.",
    queries=(
        Query(
            "sum by (reason) (rate(order_failures_total{worker}[$__rate_interval]))", "{{reason}}"
        ),
    ),
    stacked=True,
)
_TOOK = Panel(
    title="Processing time",
    unit=Unit.SECONDS,
    shows="Time of one attempt that succeeded, without the wait in the queue. Dots are single "
    "orders: click one for its trace.",
    do="Slower than before: look at a slow order's trace, then at **CPU** and **Event loop lag**. "
    "The lines of percentiles are estimates from buckets, good to the width of a bucket.",
    queries=quantiles('order_processing_duration_seconds_bucket{worker, status="success"}'),
    exemplars=True,
)
_TOOK_HEATMAP = Panel(
    title="Processing time, all attempts",
    kind=PanelKind.HEATMAP,
    unit=Unit.SECONDS,
    shows="How many attempts took how long, failed ones too. Dots are single orders: click one for "
    "its trace.",
    do="Two bands are two kinds of orders, or a cache that misses. A band at the order time-out is "
    "a dependency that hangs.",
    queries=(
        Query(
            "sum by (le) (increase("
            "order_processing_duration_seconds_bucket{worker}[$__rate_interval]))",
            "{{le}}",
        ),
    ),
    exemplars=True,
)
_OTHER_WAYS = Panel(
    title="Other ways",
    unit=Unit.ORDERS_PER_SECOND,
    shows="Orders that didn't go straight through: to be retried; recovered from a worker that is "
    "gone; given back at a shutdown; copies of fulfilled ones.",
    do="Recovered: workers die (`killed`, `oom`, `exit`) or fall silent (`lease`), see "
    "**Uptime**. Requeued: drains end before the orders do, see the setting `--shutdown-grace`. "
    "Duplicates: a producer sends orders twice.",
    queries=(
        Query("sum(rate(order_retries_total{worker}[$__rate_interval]))", "retries"),
        Query(
            "sum by (reason) (rate(orders_recovered_total{worker}[$__rate_interval]))",
            "recovered: {{reason}}",
        ),
        Query("sum(rate(orders_requeued_total{worker}[$__rate_interval]))", "requeued"),
        Query("sum(rate(orders_duplicate_total{worker}[$__rate_interval]))", "duplicates"),
    ),
)


def _end_to_end(target: Target) -> Panel:
    return Panel(
        title="End to end",
        unit=Unit.SECONDS,
        shows="Time from enqueued to fulfilled, retries and outages included: what the customer "
        f"sees. The line is the objective, {target.late_after:g} s. Of orders that say when they "
        "were enqueued.",
        do="High while **Processing time** is low: they wait, for a slot or for a retry. See "
        "**Wait** and **Retrying**.",
        queries=quantiles("order_end_to_end_duration_seconds_bucket{worker}"),
        steps=warn(target.late_after),
    )


_SINCE_LAST = Panel(
    title="Since the last attempt",
    unit=Unit.SECONDS,
    shows="Time since an attempt last ended so, on any worker.",
    do="`success` grows while orders wait: nothing works, whatever the other graphs say. Where "
    "orders are few it grows by itself.",
    queries=(
        Query(
            "time() - max by (status) (order_last_processed_timestamp_seconds{worker} > 0)",
            "{{status}}",
        ),
    ),
    colours=_BY_STATUS,
)
