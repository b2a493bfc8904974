"""The first row: is everything well? For the whole fleet, whatever was chosen."""

from __future__ import annotations

from fulfillment_worker.monitoring.dashboards.panel import (
    FIRING,
    Colour,
    Panel,
    PanelKind,
    Query,
    Row,
    Step,
    Unit,
    warn,
)
from fulfillment_worker.monitoring.target import Target

# Fourteen times the budget uses up a month's within two days: what wakes somebody.
_FAST_BURN = 14.4


def overview(target: Target) -> Row:
    """The row of single numbers."""
    return Row(
        "Overview",
        "Is everything well? These are of all workers and queues of the job; the choice of "
        "instances and queues doesn't change them.",
        (
            _WORKERS_UP,
            _error_ratio(target),
            _OLDEST_ORDER,
            _TIME_TO_DRAIN,
            _error_budget_left(target),
            _lateness_budget_left(target),
            _FIRING_ALERTS,
            _UNACCOUNTED,
        ),
    )


_WORKERS_UP = Panel(
    title="Workers up",
    runbooks=("FulfillmentNoWorkerUp",),
    kind=PanelKind.STAT,
    unit=Unit.COUNT,
    shows="Workers whose last scrape was answered.",
    do="Fewer than you run: look at **Uptime**, then at the worker's log. None: nothing is "
    "fulfilled, but nothing is lost; orders wait in Redis. Start a worker.",
    queries=(Query("sum(up{fleet}) or vector(0)", "up"),),
    base=Colour.RED,
    steps=(Step(1, Colour.GREEN),),
)


def _error_ratio(target: Target) -> Panel:
    budget = target.error_budget
    return Panel(
        title="Error ratio",
        runbooks=("FulfillmentErrorBudgetBurningFast",),
        kind=PanelKind.STAT,
        unit=Unit.RATIO,
        shows="Share of attempts that failed in the last 5 minutes; no data where there were none. "
        f"The objective allows {100 * budget:g} %.",
        do="Above the objective: **Failures by reason** tells whose fault it is.",
        queries=(
            Query("max(job:order_errors_per_orders_processed:ratio_rate5m{fleet})", "failed"),
        ),
        steps=warn(budget, round(_FAST_BURN * budget, 9)),
    )


_OLDEST_ORDER = Panel(
    title="Oldest order",
    runbooks=("FulfillmentOldestOrderTooOld",),
    kind=PanelKind.STAT,
    unit=Unit.SECONDS,
    shows="How long the oldest order that could be claimed has waited, over all queues.",
    do="Grows: customers wait. **Busy slots** full: add workers or slots. Not full: the queue is "
    "paused, the breaker is open, or Redis is away; see **Breaker** and **Redis errors**.",
    queries=(Query("max(job:fulfillment_queue_oldest_order_age_seconds:max{fleet})", "oldest"),),
    steps=warn(60, 300),
)
_TIME_TO_DRAIN = Panel(
    title="Time to drain",
    runbooks=("FulfillmentQueueGrowing",),
    kind=PanelKind.STAT,
    unit=Unit.SECONDS,
    shows="How long the backlog takes at the pace at which orders are claimed now, if none come.",
    do="Long, and growing: more orders come than are claimed. Add workers before customers notice. "
    "Infinite: orders wait and none is claimed, see **Oldest order**.",
    queries=(Query("max(job:fulfillment_queue_drain_seconds:estimate{fleet})", "drained in"),),
    steps=warn(300, 900),
)


def _error_budget_left(target: Target) -> Panel:
    return _budget_left(
        "Error budget left",
        "order_errors_per_orders_processed",
        target.error_budget,
        f"What is left of the attempts that may fail ({target.error_objective:g} % must succeed)",
        "**Failures by reason** says where it goes.",
        "FulfillmentErrorBudgetBurningSlowly",
    )


def _lateness_budget_left(target: Target) -> Panel:
    return _budget_left(
        "Lateness budget left",
        "orders_late_per_orders_completed",
        target.late_budget,
        f"What is left of the orders that may be late ({target.late_objective:g} % must be "
        f"fulfilled within {target.late_after:g} s)",
        "**End to end** and **Wait** say where it goes.",
        "FulfillmentLateBudgetBurningSlowly",
    )


def _budget_left(title: str, ratio: str, budget: float, what: str, look: str, alert: str) -> Panel:
    return Panel(
        title=title,
        runbooks=(alert,),
        kind=PanelKind.STAT,
        unit=Unit.RATIO,
        shows=f"{what}, over the last 3 days. Below 0 it is used up; -100 % stands for all below.",
        do=f"Used up: put stability before new things. {look}",
        queries=(
            Query(
                f"clamp_min(1 - max(job:{ratio}:ratio_rate3d{{fleet}}) / {budget:g}, -1)", "left"
            ),
        ),
        base=Colour.RED,
        steps=(Step(0, Colour.YELLOW), Step(0.25, Colour.GREEN)),
    )


_FIRING_ALERTS = Panel(
    title="Firing alerts",
    kind=PanelKind.STAT,
    unit=Unit.COUNT,
    shows="Alerts of this job that are firing now; the watchdog, which always fires, is left out.",
    do="Open the runbook of each; the graphs are shaded where they fired.",
    queries=(Query(f"count({FIRING}) or vector(0)", "firing"),),
    steps=warn(1),
)
_UNACCOUNTED = Panel(
    title="Orders unaccounted",
    runbooks=("FulfillmentOrdersUnaccounted",),
    kind=PanelKind.STAT,
    unit=Unit.ORDERS,
    shows="Orders received that are in no place and in no end. It is 0 unless one was lost.",
    do="Anything but 0 is an emergency: keep Redis's data as they are, and follow the runbook.",
    queries=(Query("sum(job:orders_unaccounted:max{fleet})", "lost"),),
    steps=(Step(1, Colour.RED),),
)
