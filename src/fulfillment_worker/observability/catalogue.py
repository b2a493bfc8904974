"""Every metric of the worker, declared once, as data.

The instruments, the reference page and the tests are all made from this list, so a metric that
is not here doesn't exist, and one that is here is on the page from the first scrape.
"""

from __future__ import annotations

from enum import StrEnum

from fulfillment_worker.core.breaker import BreakerCause, BreakerState
from fulfillment_worker.core.events import Gone
from fulfillment_worker.core.outcome import DeadReason, FailureReason
from fulfillment_worker.observability.catalogue_limits import LIMIT, LIMIT_USED
from fulfillment_worker.observability.catalogue_queue import (
    DEAD_LETTER_DEPTH,
    HELD_DEPTH,
    IN_FLIGHT_DEPTH,
    ORDERS_UNACCOUNTED,
    OUTSTANDING_ORDERS,
    QUEUE_DEPTH,
    QUEUE_OLDEST_ORDER,
    QUEUE_ROLLBACKS,
    QUEUE_SAMPLE,
    RETRY_DEPTH,
    SCHEDULED_DEPTH,
)
from fulfillment_worker.observability.catalogue_runtime import RUNTIME_CATALOGUE
from fulfillment_worker.observability.spec import Merge, MetricKind, MetricSpec, Source


class WorkerState(StrEnum):
    """Where a worker is in its life; label values of `fulfillment_worker_state`."""

    STARTING = "starting"
    CONSUMING = "consuming"
    DRAINING = "draining"
    STOPPED = "stopped"


STATUSES = ("success", "error")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
# `other` keeps the number of series fixed should a new operation be forgotten here.
TIMED_OPERATIONS = ("exchange", "holdings", "other")
OPERATIONS = ("wait", *TIMED_OPERATIONS)
OUTCOMES = ("ok", "error")
CRASHES = (Gone.KILLED, Gone.OOM, Gone.EXIT)

# Fixed for ever: dashboards and other implementations share them.
PROCESSING_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# From the pick-up by an idle worker (about a millisecond) to a backlog of a working day.
WAIT_BUCKETS = (0.002, 0.01, 0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 14400, 86400)
# 60 is the objective that lateness is judged by; the far end holds orders that were retried for
# hours, the near end those that a fast handler fulfilled at once.
END_TO_END_BUCKETS = (0.01, 0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 14400, 86400)
# A round trip within a rack takes 0.1 to 1 ms, a full batch a few, a failover seconds.
REDIS_BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

ORDERS_PROCESSED = MetricSpec(
    name="orders_processed_total",
    kind=MetricKind.COUNTER,
    labels=("status",),
    values=(STATUSES,),
    help="Attempts that ended, by how they ended.",
    why="Throughput, and the error ratio. An order that is retried counts once per attempt; "
    "an entry that is no order has no attempt, and is not in it.",
)
ORDER_PROCESSING_DURATION = MetricSpec(
    name="order_processing_duration_seconds",
    kind=MetricKind.HISTOGRAM,
    labels=("status",),
    values=(STATUSES,),
    buckets=PROCESSING_BUCKETS,
    help="Time of one attempt: the handler, and the recording of its result.",
    why="How fast the shop's own code is. The wait in the queue is not in it, so a backlog can't "
    "look like a slow handler. In OpenMetrics, exemplars lead to traces.",
)
ORDERS_RECEIVED = MetricSpec(
    name="orders_received_total",
    kind=MetricKind.COUNTER,
    help="Orders claimed for the first time.",
    why="Departures from the list; with the change of the depth it gives arrivals.",
)
ORDERS_IN_PROGRESS = MetricSpec(
    name="orders_in_progress",
    kind=MetricKind.GAUGE,
    merge=Merge.SUM,
    help="Orders that this worker is running now.",
    why="Divided by the slots, how busy the worker is.",
)
WORKER_SLOTS = MetricSpec(
    name="fulfillment_worker_slots",
    kind=MetricKind.GAUGE,
    merge=Merge.SUM,
    help="Orders that this worker can run at the same time.",
    why="The other half of saturation.",
)
ORDER_QUEUE_WAIT = MetricSpec(
    name="order_queue_wait_seconds",
    kind=MetricKind.HISTOGRAM,
    buckets=WAIT_BUCKETS,
    help="Time from enqueued to the first start, of orders that tell when they were enqueued.",
    why="What a customer waits before anything happens. Clocks of different hosts are compared, "
    "so a negative wait counts as 0.",
)
ORDER_END_TO_END = MetricSpec(
    name="order_end_to_end_duration_seconds",
    kind=MetricKind.HISTOGRAM,
    buckets=END_TO_END_BUCKETS,
    help="Time from enqueued to fulfilled, of orders that tell when they were enqueued.",
    why="What the customer sees, retries and outages included; lateness is judged by it.",
)
ORDER_FAILURES = MetricSpec(
    name="order_failures_total",
    kind=MetricKind.COUNTER,
    labels=("reason",),
    values=(tuple(FailureReason),),
    help="Failed attempts, and entries that are no order, by reason.",
    why="Tells whose fault it is: the producer's (invalid), the shop's code (handler, timeout), "
    "something that it needs (dependency), or ours (internal, lease_lost).",
)
ORDER_RETRIES = MetricSpec(
    name="order_retries_total",
    kind=MetricKind.COUNTER,
    help="Attempts that will be followed by another one.",
    why="Work that has to be done again, before it becomes dead letters.",
)
ORDERS_RECOVERED = MetricSpec(
    name="orders_recovered_total",
    kind=MetricKind.COUNTER,
    labels=("reason",),
    values=(tuple(Gone),),
    help="Orders of workers that are gone, put back, by how it is known that they are.",
    why="Above 0, workers are dying or falling silent, though no order is lost. `lease` is "
    "silence; the others are ends that a supervisor has seen: by a signal or after a hang "
    "(`killed`), by the kernel for want of memory (`oom`), by themselves (`exit`).",
)
ORDERS_REQUEUED = MetricSpec(
    name="orders_requeued_total",
    kind=MetricKind.COUNTER,
    help="Orders given back at no cost to them, at a shutdown for example.",
    why="Tells drains that were too short from crashes.",
)
ORDERS_POSTPONED = MetricSpec(
    name="orders_postponed_total",
    kind=MetricKind.COUNTER,
    help="Times that an order was put aside until a time, by its handler or its own wish.",
    why="Neither attempts nor failures. A handler that always postpones shows here alone.",
)
ORDERS_DUPLICATE = MetricSpec(
    name="orders_duplicate_total",
    kind=MetricKind.COUNTER,
    help="Copies of fulfilled orders, acknowledged without being handled.",
    why="A producer that sends orders twice.",
)
ORDERS_DEAD_LETTERED = MetricSpec(
    name="orders_dead_lettered_total",
    kind=MetricKind.COUNTER,
    labels=("reason",),
    values=(tuple(DeadReason),),
    help="Orders put aside for a person, by reason.",
    why="Each is a customer who gets nothing until somebody looks.",
)
ORDERS_HELD = MetricSpec(
    name="orders_held_total",
    kind=MetricKind.COUNTER,
    help="Orders that this worker put aside, since an operator holds them.",
    why="They wait until somebody releases them, and for nothing else.",
)
ORDERS_CANCELLED = MetricSpec(
    name="orders_cancelled_total",
    kind=MetricKind.COUNTER,
    help="Orders that this worker ended, since an operator cancelled them.",
    why="Held orders and dead letters are cancelled without a worker: `queue` counts these, too.",
)
ORDER_LAST_PROCESSED = MetricSpec(
    name="order_last_processed_timestamp_seconds",
    kind=MetricKind.GAUGE,
    merge=Merge.MAX,
    labels=("status",),
    values=(STATUSES,),
    help="When an attempt last ended so (Unix time); 0 before the first.",
    why="Shows a worker that hangs at a glance, also where orders are few.",
)
WORKER_LAST_LOOP = MetricSpec(
    name="fulfillment_worker_last_loop_timestamp_seconds",
    kind=MetricKind.GAUGE,
    merge=Merge.EACH,
    help="When the event loop of the worker last turned (Unix time); 0 before it started.",
    why="Served by another thread, so it tells of a loop that a handler blocks.",
)
WORKER_STATE = MetricSpec(
    name="fulfillment_worker_state",
    kind=MetricKind.GAUGE,
    merge=Merge.EACH_WORKER,
    labels=("state",),
    values=(tuple(WorkerState),),
    help="1 for the state that the worker is in, 0 for the others.",
    why="Tells a drain from a hang, in graphs and in alerts.",
)
WORKER_CRASHES = MetricSpec(
    name="fulfillment_worker_crashes_total",
    kind=MetricKind.COUNTER,
    labels=("reason",),
    values=(CRASHES,),
    help="Worker processes that ended unasked, or were killed since they hung, as their supervisor "
    "saw it.",
    why="Tells processes that crash from those that are replaced as asked, by "
    "`--max-orders-per-process` say, though both start anew.",
)
BREAKER_STATE = MetricSpec(
    name="fulfillment_breaker_state",
    kind=MetricKind.GAUGE,
    merge=Merge.EACH_WORKER,
    labels=("state",),
    values=(tuple(BreakerState),),
    help="1 for the state that the breaker is in, 0 for the others.",
    why="Open, it explains why a backlog waits while workers are idle: their dependency is down.",
)
BREAKER_OPENINGS = MetricSpec(
    name="fulfillment_breaker_openings_total",
    kind=MetricKind.COUNTER,
    labels=("cause",),
    values=(tuple(BreakerCause),),
    help="Times that the breaker opened, probes that ended badly included, by what it saw.",
    why="Where nearly everything is rejected, it is the address or the release that is wrong.",
)
REDIS_COMMANDS = MetricSpec(
    name="fulfillment_redis_commands_total",
    kind=MetricKind.COUNTER,
    labels=("operation", "outcome"),
    values=(OPERATIONS, OUTCOMES),
    help="Commands sent to Redis, by what they were for and whether they were answered.",
    why="The load on Redis, and its error ratio.",
)
REDIS_COMMAND_DURATION = MetricSpec(
    name="fulfillment_redis_command_duration_seconds",
    kind=MetricKind.HISTOGRAM,
    labels=("operation",),
    values=(TIMED_OPERATIONS,),
    buckets=REDIS_BUCKETS,
    help="Time of a command to Redis and back; waiting for orders is not in it.",
    why="Tells a slow Redis or network from a slow handler.",
)
LOG_MESSAGES = MetricSpec(
    name="fulfillment_log_messages_total",
    kind=MetricKind.COUNTER,
    labels=("level",),
    values=(LOG_LEVELS,),
    source=Source.PLAIN,
    help="Messages logged, by level, also those that could not be written.",
    why="A burst of errors can be seen, and alerted on, without a log system.",
)
LOG_LINES_DROPPED = MetricSpec(
    name="fulfillment_log_lines_dropped_total",
    kind=MetricKind.COUNTER,
    source=Source.PLAIN,
    help="Log lines that were not written, since whoever reads the log was too slow or is gone.",
    why="Above 0, the log is incomplete. The worker never waits for its reader: up to 10,000 lines "
    "or 8 MiB wait for it, and what comes then is dropped.",
)
OBSERVER_FAULTS = MetricSpec(
    name="fulfillment_observer_faults_total",
    kind=MetricKind.COUNTER,
    source=Source.PLAIN,
    help="Times that a metric, log or trace could not be recorded; no order was affected.",
    why="Above 0, the other numbers may be too low, and there is a bug to report.",
)
SPANS_ENDED = MetricSpec(
    name="fulfillment_spans_ended_total",
    kind=MetricKind.COUNTER,
    source=Source.PLAIN,
    help="Sampled spans that ended in this process, told with each batch that is exported.",
    why="More than were exported: some wait, or were dropped because too many did "
    "(OTEL_BSP_MAX_QUEUE_SIZE). 0 where traces are off.",
)
SPANS_EXPORTED = MetricSpec(
    name="fulfillment_spans_exported_total",
    kind=MetricKind.COUNTER,
    labels=("outcome",),
    values=(OUTCOMES,),
    source=Source.PLAIN,
    help="Spans that the collector of traces took, or that were lost since it did not.",
    why="Tells a trace that was never made from one that got lost. Orders don't depend on it.",
)
BUILD_INFO = MetricSpec(
    name="fulfillment_build_info",
    kind=MetricKind.GAUGE,
    merge=Merge.MAX,
    labels=("version", "revision"),
    help="Always 1; which build this is.",
    why="Puts releases on graphs, and shows a half-finished roll-out.",
)
CATALOGUE: tuple[MetricSpec, ...] = (
    ORDERS_PROCESSED,
    ORDER_PROCESSING_DURATION,
    QUEUE_DEPTH,
    ORDERS_RECEIVED,
    ORDERS_IN_PROGRESS,
    WORKER_SLOTS,
    ORDER_QUEUE_WAIT,
    ORDER_END_TO_END,
    ORDER_FAILURES,
    ORDER_RETRIES,
    ORDERS_RECOVERED,
    ORDERS_REQUEUED,
    ORDERS_POSTPONED,
    ORDERS_HELD,
    ORDERS_CANCELLED,
    ORDERS_DUPLICATE,
    ORDERS_DEAD_LETTERED,
    IN_FLIGHT_DEPTH,
    RETRY_DEPTH,
    SCHEDULED_DEPTH,
    HELD_DEPTH,
    OUTSTANDING_ORDERS,
    DEAD_LETTER_DEPTH,
    LIMIT,
    LIMIT_USED,
    QUEUE_OLDEST_ORDER,
    QUEUE_SAMPLE,
    ORDERS_UNACCOUNTED,
    QUEUE_ROLLBACKS,
    ORDER_LAST_PROCESSED,
    WORKER_LAST_LOOP,
    WORKER_STATE,
    WORKER_CRASHES,
    BREAKER_STATE,
    BREAKER_OPENINGS,
    REDIS_COMMANDS,
    REDIS_COMMAND_DURATION,
    LOG_MESSAGES,
    LOG_LINES_DROPPED,
    OBSERVER_FAULTS,
    SPANS_ENDED,
    SPANS_EXPORTED,
    BUILD_INFO,
    *RUNTIME_CATALOGUE,
)
