"""Alerts for working hours: customers notice little yet, or not at all."""

from __future__ import annotations

from fulfillment_worker.monitoring.alert import QUEUE, WORKER, A, Alert, AlertSeverity, happened
from fulfillment_worker.monitoring.pages import (
    COMPLETED,
    DEPTH,
    ERRORS,
    GUARD,
    LATE,
    PROCESSED,
)
from fulfillment_worker.monitoring.rules import FRESH
from fulfillment_worker.monitoring.target import Target
from fulfillment_worker.observability.catalogue import CATALOGUE
from fulfillment_worker.observability.spec import Merge, MetricKind, MetricSpec, Source


def burning_slowly(target: Target, ratio: str, rate: str, budget: float) -> str:
    """The budget won't last the month."""
    return (
        f"{target.of(ratio + '3d')} > {budget:.6g}\nand\n{target.of(ratio + '6h')} > {budget:.6g}\n"
        f"and\n{target.of(rate + '6h')} * 21600 >= {GUARD}"
    )


def _errors(target: Target) -> str:
    return burning_slowly(target, ERRORS, PROCESSED, target.error_budget)


def _late(target: Target) -> str:
    return burning_slowly(target, LATE, COMPLETED, target.late_budget)


def _down(target: Target) -> str:
    return f"{target.of('up')} == 0"


def promised() -> list[str]:
    """One series name for each metric that a worker always has."""
    return [
        f"{spec.name}_count" if spec.kind is MetricKind.HISTOGRAM else spec.name
        for spec in CATALOGUE
        if spec.source in (Source.EVENTS, Source.PLAIN)
    ]


def _missing(target: Target) -> str:
    up = f"{target.of('up')} == 1"

    def without(name: str) -> str:
        bare = f"{up} unless on (job, instance) {target.of(name)}"
        return f'label_replace({bare}, "metric", "{name}", "", "")'

    return "\nor\n".join(map(without, promised()))


def _growing(target: Target) -> str:
    drain = target.of("job:fulfillment_queue_drain_seconds:estimate")
    return (
        f"{drain} > {target.seconds('15m')}\nand ignoring (queue)\n"
        f"deriv({target.of(DEPTH)}[{target.window('15m')}]) > 0"
    )


def _busy(target: Target) -> str:
    window = target.window("5m")
    busy = target.of("job:orders_in_progress_per_slots:ratio")
    return (
        f"avg_over_time({busy}[{window}]) > 0.9\nand ignoring (queue)\n"
        f"min_over_time({target.of(DEPTH)}[{window}]) > 0"
    )


def _stale(target: Target) -> str:
    sampled = target.of("fulfillment_queue_sample_timestamp_seconds")
    return f"time() - {sampled} > {target.seconds(FRESH)}"


def _held(target: Target) -> str:
    """More held than workers may hold, or some held while nobody runs any; for the whole window.

    Workers hold as many as they have slots, and half as many again where handlers are quick.
    Fewer can't be told from orders between two samples, which come from different moments.
    """
    window = target.window("10m")
    held = f"min_over_time({target.of('job:fulfillment_in_flight_depth:max')}[{window}])"
    slots = f"sum without ({A}) ({target.of('fulfillment_worker_slots')})"
    ended = f"sum without (status, {A}) (increase({target.of('orders_processed_total')}[{window}]))"
    running = f"sum without ({A}) (max_over_time({target.of('orders_in_progress')}[{window}]))"
    return (
        f"sum without (queue) ({held}) > 1.5 * {slots}\nor\n"
        f"sum without (queue) ({held}) > 0 and {running} == 0 and {ended} == 0"
    )


def _dead(target: Target) -> str:
    return happened(target, "orders_dead_lettered_total", "30m")


def _orphaned(target: Target) -> str:
    return happened(target, "orders_recovered_total", "30m")


def _redis_errors(target: Target) -> str:
    def sent(*matchers: str) -> str:
        commands = target.of("fulfillment_redis_commands_total", *matchers)
        window = target.window("5m")
        return f"sum without (operation, outcome, {A}) (rate({commands}[{window}]))"

    failed = sent('outcome="error"')
    return f"{failed}\n/\n({sent()} > 0)\n> 0.05"


def _lag(target: Target) -> str:
    lag = target.of("python_asyncio_loop_lag_seconds_bucket")
    return f"histogram_quantile(0.99, rate({lag}[{target.window('5m')}])) > 0.25"


def _descriptors(target: Target) -> str:
    return f"{target.of('process_open_fds')} / {target.of('process_max_fds')} > 0.8"


def _crashing(target: Target) -> str:
    """The processes of a supervisor start anew when they are worn out, too; it counts crashes."""
    window = target.window("15m")
    started = target.of("process_start_time_seconds", 'process=~"|supervisor"')
    crashes = target.of("fulfillment_worker_crashes_total")
    return (
        f"changes({started}[{window}]) >= 3\nor\n"
        f"round(sum without (reason) (increase({crashes}[{window}]))) >= 3"
    )


def declared_series(queues: int, processes: int = 0) -> int:
    """How many series a worker of so many queues has by its catalogue, about.

    processes: under one supervisor, 0 without one.
    """
    return sum(_series(spec, processes) * (queues if spec.per_queue else 1) for spec in CATALOGUE)


def _series(spec: MetricSpec, processes: int) -> int:
    children = 1
    if processes and spec.merging is Merge.EACH:
        children = processes + 1
    elif processes and spec.merging is Merge.EACH_WORKER:
        children = processes
    for values in spec.values:
        children *= len(values)
    # Of a histogram: the buckets, the last one without a bound, the count and the sum.
    return children * (len(spec.buckets) + 3 if spec.kind is MetricKind.HISTOGRAM else 1)


def _series_budget(target: Target) -> int:
    return -(-2 * declared_series(len(target.queues), target.processes) // 100) * 100


def _too_many_series(target: Target) -> str:
    return f"{target.of('scrape_samples_post_metric_relabeling')} > {_series_budget(target)}"


def _breaker(target: Target) -> str:
    # Half open it lets single orders through, and mostly falls back.
    state = target.of("fulfillment_breaker_state", 'state=~"open|half_open"')
    return f"sum without (state, {A}) ({state}) > 0"


TICKETS: tuple[Alert, ...] = (
    Alert(
        name="FulfillmentErrorBudgetBurningSlowly",
        severity=AlertSeverity.TICKET,
        expr=_errors,
        wait="15m",
        summary="More orders fail than was promised, though not many at a time.",
        description="{{ $value | humanizePercentage }} of the attempts of three days failed: more "
        "than the error budget has.",
    ),
    Alert(
        name="FulfillmentLateBudgetBurningSlowly",
        severity=AlertSeverity.TICKET,
        expr=_late,
        wait="15m",
        summary="More customers wait too long than was promised, though not many at a time.",
        description="{{ $value | humanizePercentage }} of the orders of three days were late: more "
        "than the lateness budget has.",
    ),
    Alert(
        name="FulfillmentTargetDown",
        severity=AlertSeverity.TICKET,
        expr=_down,
        wait="5m",
        summary="Nothing yet, as long as other workers are up; orders may take longer.",
        description="Prometheus can't scrape {{ $labels.instance }}.",
    ),
    Alert(
        name="FulfillmentMetricMissing",
        severity=AlertSeverity.TICKET,
        expr=_missing,
        wait="5m",
        summary="Nothing, but alerts that need this metric can't fire.",
        description="{{ $labels.instance }} is up and has no {{ $labels.metric }}.",
    ),
    Alert(
        name="FulfillmentQueueGrowing",
        severity=AlertSeverity.TICKET,
        expr=_growing,
        wait="10m",
        summary="Orders come faster than they are fulfilled: customers wait longer and longer.",
        description="The queue grows, and at this pace what waits in it takes "
        "{{ $value | humanizeDuration }}.",
    ),
    Alert(
        name="FulfillmentSlotsBusy",
        severity=AlertSeverity.TICKET,
        expr=_busy,
        wait="10m",
        summary="Orders wait because all workers are busy.",
        description="{{ $value | humanizePercentage }} of the slots are busy, and orders wait.",
    ),
    Alert(
        name="FulfillmentDepthSampleStale",
        severity=AlertSeverity.TICKET,
        expr=_stale,
        wait="2m",
        summary="This worker fulfils nothing: it doesn't reach Redis.",
        description=f"{{{{ $labels.instance }}}} has not looked at the queue{QUEUE} for "
        "{{ $value | humanizeDuration }}. What it shows of it is old.",
    ),
    Alert(
        name="FulfillmentOrdersHeldByNoWorker",
        severity=AlertSeverity.TICKET,
        expr=_held,
        wait="5m",
        summary="Some customers wait, though their orders seem to be in work.",
        description="Of {{ $value }} orders in flight, no worker that Prometheus knows runs any, "
        "or they are more than all workers may hold.",
    ),
    Alert(
        name="FulfillmentDeadLettersGrowing",
        severity=AlertSeverity.TICKET,
        expr=_dead,
        wait="",
        summary="Some customers get nothing until somebody looks at their orders.",
        description="Orders were put aside as dead letters ({{ $labels.reason }}): about "
        '{{ $value | printf "%.0f" }} in half an hour.',
    ),
    Alert(
        name="FulfillmentOrdersOrphaned",
        severity=AlertSeverity.TICKET,
        expr=_orphaned,
        wait="",
        summary="Some orders took longer: their worker died, and they ran again elsewhere.",
        description='About {{ $value | printf "%.0f" }} orders outlived their worker in half an '
        "hour ({{ $labels.reason }}).",
    ),
    Alert(
        name="FulfillmentRedisErrors",
        severity=AlertSeverity.TICKET,
        expr=_redis_errors,
        wait="5m",
        summary="Orders take longer, or can't be placed: Redis is in trouble.",
        description="{{ $value | humanizePercentage }} of the commands to Redis fail.",
    ),
    Alert(
        name="FulfillmentEventLoopLag",
        severity=AlertSeverity.TICKET,
        expr=_lag,
        wait="10m",
        summary="All orders of one worker take longer: a handler holds up the others.",
        description=f"One in a hundred timers of {WORKER} is "
        "{{ $value | humanizeDuration }} late or more.",
    ),
    Alert(
        name="FulfillmentDescriptorsRunningOut",
        severity=AlertSeverity.TICKET,
        expr=_descriptors,
        wait="5m",
        summary="Nothing yet; soon one worker's orders fail.",
        description=f"{WORKER} has "
        "{{ $value | humanizePercentage }} of the file descriptors open that it may.",
    ),
    Alert(
        name="FulfillmentCrashLooping",
        severity=AlertSeverity.TICKET,
        expr=_crashing,
        wait="",
        summary="Orders take longer, and some may run twice: a worker dies again and again.",
        description=f"{WORKER} has started, or lost processes, {{{{ $value }}}} times in "
        "15 minutes.",
    ),
    Alert(
        name="FulfillmentTooManySeries",
        severity=AlertSeverity.TICKET,
        expr=_too_many_series,
        wait="10m",
        summary="Nothing; Prometheus pays for it.",
        description="{{ $labels.instance }} has {{ $value }} series, more than twice those that "
        "its metrics and queues account for.",
    ),
    Alert(
        name="FulfillmentBreakerOpen",
        severity=AlertSeverity.TICKET,
        expr=_breaker,
        wait="2m",
        summary="Orders wait: nearly all attempts fail or are rejected, so only single ones are "
        "tried.",
        description="The breaker of {{ $value }} workers is open; "
        "fulfillment_breaker_openings_total tells whether by failures or by rejections.",
    ),
)
