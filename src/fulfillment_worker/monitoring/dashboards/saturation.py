"""Saturation: how full the workers are, and whether they take orders at all."""

from __future__ import annotations

from fulfillment_worker.core.breaker import BreakerState
from fulfillment_worker.monitoring.dashboards.panel import (
    INSTANCE,
    PROCESS,
    Colour,
    Panel,
    PanelKind,
    Query,
    Row,
    State,
    Unit,
    warn,
)
from fulfillment_worker.observability.catalogue import WorkerState


def _states(metric: str, states: tuple[State, ...]) -> Query:
    """One line per worker, whose value is the number of its state."""
    parts = (f'{state.value} * {metric}{{worker, state="{state.text}"}}' for state in states)
    return Query(" + ignoring (state) ".join(parts), PROCESS)


_WORKER_STATES = (
    State(1, WorkerState.STARTING, Colour.BLUE),
    State(2, WorkerState.CONSUMING, Colour.GREEN),
    State(3, WorkerState.DRAINING, Colour.YELLOW),
    State(4, WorkerState.STOPPED, Colour.RED),
)
_BREAKER_STATES = (
    State(1, BreakerState.CLOSED, Colour.GREEN),
    State(2, BreakerState.HALF_OPEN, Colour.YELLOW),
    State(3, BreakerState.OPEN, Colour.RED),
)
SATURATION = Row(
    "Saturation",
    "How full are the workers, and do they take orders at all?",
    (
        Panel(
            title="Busy slots",
            runbooks=("FulfillmentSlotsBusy",),
            unit=Unit.RATIO,
            shows="Orders that a worker runs, of those that it could run at the same time.",
            do="Full while orders wait: more workers, or a higher `--concurrency` where the "
            "handler mostly waits. Empty while orders wait: see **Breaker** and **Worker state**.",
            queries=(
                Query("orders_in_progress{worker} / fulfillment_worker_slots{worker}", INSTANCE),
            ),
            steps=warn(0.9),
            highest=1,
        ),
        Panel(
            title="Since the loop turned",
            runbooks=("FulfillmentWorkerStuck",),
            unit=Unit.SECONDS,
            shows="Time since a worker's event loop last turned. It is served by another thread, "
            "so it also tells of a loop that hangs.",
            do="Grows: a handler blocks the loop, and nothing else in this worker goes on. "
            "`py-spy dump --pid PID` shows where; make the handler a plain `def`, so that it runs "
            "in a thread.",
            queries=(
                Query(
                    "time() - (fulfillment_worker_last_loop_timestamp_seconds{worker} > 0)",
                    PROCESS,
                ),
            ),
            steps=warn(5, 30),
        ),
        Panel(
            title="Worker state",
            kind=PanelKind.STATES,
            unit=Unit.COUNT,
            shows="What each worker is doing. A gap: it couldn't be scraped.",
            do="Long `starting`: it can't reach Redis, see its log. Long `draining`: orders take "
            "longer than the grace. A gap without a drain before it: it was killed.",
            queries=(_states("fulfillment_worker_state", _WORKER_STATES),),
            states=_WORKER_STATES,
        ),
        Panel(
            title="Breaker",
            runbooks=("FulfillmentBreakerOpen",),
            kind=PanelKind.STATES,
            unit=Unit.COUNT,
            shows="Whether a worker claims orders, or has stopped since nearly all attempts fail "
            "or are rejected.",
            do="Open: what the handler needs is down for everyone, and the backlog waits in the "
            "queue instead of becoming dead letters. Mend the dependency; the rest goes by itself.",
            queries=(_states("fulfillment_breaker_state", _BREAKER_STATES),),
            states=_BREAKER_STATES,
        ),
    ),
)
