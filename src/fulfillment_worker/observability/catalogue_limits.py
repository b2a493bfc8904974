"""The metrics of the fleet's limits: see catalogue.py."""

from __future__ import annotations

from fulfillment_worker.observability.spec import Merge, MetricKind, MetricSpec

LIMITS = ("rate", "in_flight", "per_key")

LIMIT = MetricSpec(
    name="fulfillment_limit",
    kind=MetricKind.GAUGE,
    merge=Merge.NEWEST,
    per_queue=True,
    labels=("limit",),
    values=(LIMITS,),
    help="Limits of the whole fleet, as last read: attempts started per unit of the rate, orders "
    "in flight, and orders in flight of one key; infinite where there is none.",
    why="What `fulfillment-worker limit` has set. The rate is in the unit in which it was given: "
    "500/h is 500.",
)
LIMIT_USED = MetricSpec(
    name="fulfillment_limit_used",
    kind=MetricKind.GAUGE,
    merge=Merge.NEWEST,
    per_queue=True,
    labels=("limit",),
    values=(LIMITS,),
    help="What is used of the limits, as last read: attempts started in the last unit of the rate, "
    "orders in flight, and orders that wait for their key.",
    why="A rate or a number in flight that is used up is why a backlog waits while workers are "
    "idle. Orders that wait for their key are among those to be retried.",
)
