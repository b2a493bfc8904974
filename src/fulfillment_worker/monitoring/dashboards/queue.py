"""The queue: what waits, since when, and where orders are."""

from __future__ import annotations

from fulfillment_worker.monitoring.dashboards.panel import (
    Colour,
    Panel,
    Query,
    Row,
    Step,
    Unit,
    quantiles,
    warn,
)


def _depth(title: str, metric: str, word: str, shows: str, do: str, *alerts: str) -> Panel:
    """All workers of a queue report the same depth, so the rule takes the max, not the sum."""
    return Panel(
        title=title,
        unit=Unit.ORDERS,
        shows=shows,
        do=do,
        runbooks=alerts,
        queries=(
            Query(f"max by (queue) (job:{metric}:max{{fleet_queue}})", f"{word} {{{{queue}}}}"),
        ),
    )


_WAITING = _depth(
    "Waiting",
    "fulfillment_queue_depth",
    "waiting",
    "Orders in the public list: the backlog.",
    "A heap that shrinks is a rush. One that grows: see **Arrivals and departures**. One that "
    "stands still while workers are idle: the queue is paused, or the breaker is open.",
)
_AGE = Panel(
    title="Age of the oldest",
    runbooks=("FulfillmentOldestOrderTooOld",),
    unit=Unit.SECONDS,
    shows="How long the oldest claimable order has waited. Retries count once they are due; a "
    "paused queue counts. It goes on growing while Redis can't be asked.",
    do="This is the number to be woken up by: 10 orders may be an hour old. See **Oldest order**.",
    queries=(
        Query(
            "max by (queue) (job:fulfillment_queue_oldest_order_age_seconds:max{fleet_queue})",
            "oldest {{queue}}",
        ),
    ),
    steps=warn(60, 300),
)
_FLOW = Panel(
    title="Arrivals and departures",
    runbooks=(
        "FulfillmentQueueGrowing",
        "FulfillmentNothingReceived",
    ),
    unit=Unit.ORDERS_PER_SECOND,
    shows="Orders placed, and orders claimed for the first time, over all queues of the job. "
    "Arrivals are departures and the growth of the backlog together.",
    do="Arrivals above departures for long: add workers or slots.",
    queries=(
        Query(
            "clamp_min(sum(rate(orders_received_total{fleet}[$__rate_interval])) "
            "+ sum(deriv(job:fulfillment_queue_depth:max{fleet}[$__rate_interval])), 0)",
            "arrivals",
        ),
        Query("sum(rate(orders_received_total{fleet}[$__rate_interval]))", "departures"),
    ),
)
_WAIT = Panel(
    title="Wait",
    unit=Unit.SECONDS,
    shows="Time from enqueued to the first start, of orders that say when they were enqueued.",
    do="Long while **Busy slots** is full: add workers. Long while it isn't: see **Breaker**, "
    "**Redis latency** and whether the queue was paused.",
    queries=quantiles("order_queue_wait_seconds_bucket{worker}"),
)
_IN_FLIGHT = Panel(
    title="In flight",
    runbooks=(
        "FulfillmentOrdersHeldByNoWorker",
        "FulfillmentOrdersOrphaned",
    ),
    unit=Unit.ORDERS,
    shows="Orders that workers hold, by what Redis says; and those that the workers say they run.",
    do="Held well above running for longer than the lease: they hang at a worker that is gone, "
    "or that holds more than it runs. They are recovered when its lease has run out.",
    queries=(
        Query(
            "max by (queue) (job:fulfillment_in_flight_depth:max{fleet_queue})", "held {{queue}}"
        ),
        Query("sum(orders_in_progress{fleet})", "running"),
    ),
)
_RETRYING = _depth(
    "Retrying",
    "fulfillment_retry_depth",
    "retrying",
    "Orders that wait for their next attempt.",
    "Grows: attempts fail now, see **Failures by reason**. They are a backlog that the depth of "
    "the list doesn't show, and come back by themselves.",
)
_DEAD = _depth(
    "Dead letters",
    "fulfillment_dead_letter_depth",
    "dead",
    "Orders put aside for a person. Each is a customer who gets nothing until somebody looks.",
    "`fulfillment-worker dead list` groups them by cause; `dead retry` puts a group back when the "
    "cause is gone, `dead drop` gives it up.",
    "FulfillmentDeadLettersGrowing",
)
_DEAD_BY_REASON = Panel(
    title="New dead letters by reason",
    runbooks=("FulfillmentDeadLettersGrowing",),
    unit=Unit.ORDERS,
    shows="Orders put aside since the point before.",
    do="`invalid`: a producer sends what is no order. `rejected`: the handler refused. "
    "`attempts_exhausted`: it failed each time. `orphaned`: it outlived several workers, and may "
    "have killed them. `expired`: it was too old to be tried.",
    queries=(
        Query(
            "sum by (reason) (increase(orders_dead_lettered_total{worker}[$__rate_interval]))",
            "{{reason}}",
        ),
    ),
    stacked=True,
)
_SAMPLE_AGE = Panel(
    title="Age of these numbers",
    runbooks=("FulfillmentDepthSampleStale",),
    unit=Unit.SECONDS,
    shows="When depths and age were last read from Redis. A worker reads them every second while "
    "it is busy, and more rarely while it idles.",
    do="Grows without end: Redis is away, or all workers hang. The depths above are old.",
    queries=(
        Query(
            "time() - max by (queue) "
            "(fulfillment_queue_sample_timestamp_seconds{worker_queue} > 0)",
            "read {{queue}}",
        ),
    ),
    steps=(Step(60, Colour.YELLOW),),
)
QUEUE = Row(
    "Queue",
    "What waits, since when, and where are the orders?",
    (
        _WAITING,
        _AGE,
        _FLOW,
        _WAIT,
        _IN_FLIGHT,
        _RETRYING,
        _DEAD,
        _DEAD_BY_REASON,
        _SAMPLE_AGE,
    ),
)
