"""The part of the catalogue that is about the queue: where its orders are, as last read."""

from __future__ import annotations

from fulfillment_worker.observability.spec import Merge, MetricKind, MetricSpec

QUEUE_DEPTH = MetricSpec(
    name="fulfillment_queue_depth",
    kind=MetricKind.GAUGE,
    merge=Merge.NEWEST,
    per_queue=True,
    help="Orders that wait in the public list, as last read.",
    why="The backlog. All workers of a queue report the same list: take the max, not the sum.",
)
IN_FLIGHT_DEPTH = MetricSpec(
    name="fulfillment_in_flight_depth",
    kind=MetricKind.GAUGE,
    merge=Merge.NEWEST,
    per_queue=True,
    help="Orders held by workers, of all workers, as last read.",
    why="Above what the workers say they run, orders hang at a worker that is gone.",
)
RETRY_DEPTH = MetricSpec(
    name="fulfillment_retry_depth",
    kind=MetricKind.GAUGE,
    merge=Merge.NEWEST,
    per_queue=True,
    help="Orders that wait for their next attempt, as last read.",
    why="A backlog that the depth of the list doesn't show.",
)
SCHEDULED_DEPTH = MetricSpec(
    name="fulfillment_scheduled_depth",
    kind=MetricKind.GAUGE,
    merge=Merge.NEWEST,
    per_queue=True,
    help="Orders that wait for a time by wish (postponed, or not to start before), as last read.",
    why="They are neither late nor outstanding, and come back by themselves.",
)
HELD_DEPTH = MetricSpec(
    name="fulfillment_held_depth",
    kind=MetricKind.GAUGE,
    merge=Merge.NEWEST,
    per_queue=True,
    help="Orders that operators hold, as last read.",
    why="Each waits for a person to release or to cancel it.",
)
OUTSTANDING_ORDERS = MetricSpec(
    name="fulfillment_outstanding_orders",
    kind=MetricKind.GAUGE,
    merge=Merge.NEWEST,
    per_queue=True,
    help="Orders that wait, are in flight, or are to be retried, as last read.",
    why="What is to be worked off, and what to scale on: see deployment.md.",
)
DEAD_LETTER_DEPTH = MetricSpec(
    name="fulfillment_dead_letter_depth",
    kind=MetricKind.GAUGE,
    merge=Merge.NEWEST,
    per_queue=True,
    help="Dead letters, as last read.",
    why="How many orders wait for a person.",
)
QUEUE_OLDEST_ORDER = MetricSpec(
    name="fulfillment_queue_oldest_order_timestamp_seconds",
    kind=MetricKind.GAUGE,
    merge=Merge.SINCE,
    per_queue=True,
    help="Since when the oldest claimable order has waited (Unix time); the time of the scrape "
    "where none waited when the queue was last read.",
    why="Age tells lateness where depth can't: 10 orders may be an hour old. A point in time and "
    "not an age, so that it goes on growing while Redis can't be asked.",
)
QUEUE_SAMPLE = MetricSpec(
    name="fulfillment_queue_sample_timestamp_seconds",
    kind=MetricKind.GAUGE,
    merge=Merge.MAX,
    per_queue=True,
    help="When depths and age were last read (Unix time); 0 for never.",
    why="While Redis is away the depths stand still: this tells that they are old.",
)
ORDERS_UNACCOUNTED = MetricSpec(
    name="orders_unaccounted",
    kind=MetricKind.GAUGE,
    merge=Merge.NEWEST,
    per_queue=True,
    help="Orders received that are in no place and in no end; 0 unless an order was lost.",
    why="The promise of the project, as a number. Anything but 0 is an emergency.",
)
QUEUE_ROLLBACKS = MetricSpec(
    name="fulfillment_queue_rollbacks_total",
    kind=MetricKind.COUNTER,
    per_queue=True,
    help="Times that a worker saw Redis with fewer orders than before: it was flushed, or came "
    "back with older data.",
    why="Orders may be missing, or run twice, and no other metric tells: the books went back with "
    "the orders. Each worker counts it, so two workers count one loss as 2.",
)
