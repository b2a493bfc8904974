"""What happened, as log lines: past tense, the same field names everywhere, quiet when all is well.

At `info` nothing is said of an order that goes well. Payloads are never logged.
"""

from __future__ import annotations

from logging import DEBUG, ERROR, INFO, WARNING

from fulfillment_worker.core.breaker import BreakerCause, BreakerState
from fulfillment_worker.core.events import (
    AttemptEnded,
    BreakerChanged,
    CollectorLost,
    CollectorRegained,
    CommandSent,
    Event,
    LeaseLost,
    NoteLost,
    OrderDuplicated,
    OrderExpired,
    OrderInvalid,
    OrderPostponed,
    OrdersFulfilled,
    OrdersReceived,
    OrdersRecovered,
    OrdersRequeued,
    OrdersStarted,
    OrderWithdrawn,
    QueueLost,
    QueueRegained,
    QueueRolledBack,
    ResourcesMade,
    ResourcesNotClosed,
    ResourcesUnready,
    ShortageChanged,
    WorkerDraining,
    WorkerStarted,
    WorkerStopped,
)
from fulfillment_worker.core.outcome import DeadReason, FailureReason, Withdrawal
from fulfillment_worker.observability.logs import is_logged, log

# The shop said so itself, or its producer did; the others are for a person to look at.
_EXPECTED = (DeadReason.REJECTED, DeadReason.INVALID)


_TURNED = {
    BreakerState.OPEN: "opened",
    BreakerState.HALF_OPEN: "half_opened",
    BreakerState.CLOSED: "closed",
}
_CLAIMING_STOPS = {
    BreakerCause.FAILURES: "nearly all attempts fail, so claiming stops; orders wait in the queue",
    BreakerCause.REJECTIONS: "all orders of late were rejected, so claiming stops; once that is "
    "mended, put them back with: fulfillment-worker dead retry GROUP",
}
_AFTER = {
    BreakerState.HALF_OPEN: "one order at a time is tried",
    BreakerState.CLOSED: "claiming goes on",
}


class EventLog:
    """Logs the events that it is told. May raise only what `logging` raises, which is nothing."""

    def __init__(self) -> None:
        self._notes_lost: set[str] = set()

    def observe(self, event: Event) -> None:  # noqa: C901, PLR0912 - one flat case per event
        """Log an event, or leave it: commands and surveys are for metrics alone."""
        match event:
            case OrdersFulfilled():
                if is_logged(DEBUG):
                    for attempt in event.attempts:
                        _attempt(DEBUG, "order_fulfilled", attempt)
            case AttemptEnded():
                _failed(event)
            case OrderInvalid() | OrderExpired():
                _never_attempted(event)
            case NoteLost():
                self._note_lost(event)
            case OrderWithdrawn():
                _withdrawn(event)
            case OrdersRecovered():
                _recovered(event)
            case LeaseLost() | QueueLost() | QueueRegained() | QueueRolledBack():
                _outage(event)
            case CollectorLost() | CollectorRegained():
                _collector(event)
            case BreakerChanged():
                _breaker(event)
            case ShortageChanged():
                _shortage(event)
            case ResourcesUnready() | ResourcesMade() | ResourcesNotClosed():
                _resources(event)
            case WorkerStarted() | WorkerDraining() | WorkerStopped():
                _life(event)
            case _ if is_logged(DEBUG):
                _detail(event)

    def _note_lost(self, event: NoteLost) -> None:
        """Once for each queue: it is the handler's fault, and may be so for each order."""
        if event.queue in self._notes_lost:
            return
        self._notes_lost.add(event.queue)
        hint = "the order is fulfilled, without a note; this is not told again for other orders"
        told = {"order_id": event.order_id, "queue": event.queue}
        log(WARNING, "order_note_lost", **told, error=event.why, next=hint)


def delivery_id(worker: str, delivery: int) -> str:
    """The name of one delivery, unique among all workers."""
    return f"{worker}/{delivery}"


def _attempt(level: int, name: str, event: AttemptEnded, **more: object) -> None:
    log(
        level,
        name,
        order_id=event.order_id,
        delivery_id=delivery_id(event.worker, event.delivery),
        attempt=event.attempt,
        queue=event.queue,
        worker=event.worker,
        duration=event.duration,
        **more,
        trace_id=event.trace_id,
        exception=event.traceback or None,
    )


def _failed(event: AttemptEnded) -> None:
    why = {"reason": event.reason, "error": event.error}
    if event.dead is not None:
        level = WARNING if event.dead in _EXPECTED else ERROR
        _attempt(level, "order_dead_lettered", event, **why, dead=event.dead)
    elif event.retry_in is not None:
        _attempt(WARNING, "order_retried", event, **why, retry_in=event.retry_in)
    elif event.reason is FailureReason.LEASE_LOST:
        _attempt(WARNING, "order_fenced", event, **why, next="another worker runs the order again")
    else:
        _attempt(ERROR, "order_attempt_failed", event, **why)


def _never_attempted(event: OrderInvalid | OrderExpired) -> None:
    if isinstance(event, OrderExpired):
        _expired(event)
        return
    log(
        WARNING,
        "order_dead_lettered",
        delivery_id=event.delivery and delivery_id(event.worker, event.delivery),
        queue=event.queue,
        worker=event.worker,
        reason=FailureReason.INVALID,
        error=event.why,
        dead=DeadReason.INVALID,
    )


def _expired(event: OrderExpired) -> None:
    log(
        WARNING,
        "order_dead_lettered",
        order_id=event.order_id,
        delivery_id=delivery_id(event.worker, event.delivery),
        queue=event.queue,
        worker=event.worker,
        error=event.why,
        dead=DeadReason.EXPIRED,
    )


def _recovered(event: OrdersRecovered) -> None:
    if event.orphaned:
        hint = "some outlived their workers too often, and are dead letters now"
    else:
        hint = "they run again, here or elsewhere"
    log(
        ERROR if event.orphaned else WARNING,
        "orders_recovered",
        queue=event.queue,
        count=event.count,
        orphaned=event.orphaned,
        reason=event.reason,
        next=hint,
    )


def _outage(event: LeaseLost | QueueLost | QueueRegained | QueueRolledBack) -> None:
    match event:
        case QueueRolledBack():
            log(
                ERROR,
                "redis_data_lost",
                queue=event.queue,
                received_before=event.before,
                received_now=event.now,
                next="Redis was flushed or came back with older data: orders may be missing from "
                "it, or come again; what is on the list is handled",
            )
        case LeaseLost():
            log(
                ERROR,
                "lease_lost",
                queue=event.queue,
                worker=event.worker,
                orders=event.orders,
                next="other workers run these orders; this one goes on under a new name",
            )
        case QueueLost():
            hint = "running orders go on, and claiming resumes by itself"
            log(ERROR, "redis_lost", queue=event.queue, error=event.why, next=hint)
        case QueueRegained():
            name = "redis_connected" if event.first else "redis_regained"
            log(INFO, name, queue=event.queue, away=event.away, next="claiming")


def _breaker(event: BreakerChanged) -> None:
    hint = _AFTER.get(event.state) or _CLAIMING_STOPS[event.cause]
    log(WARNING, f"breaker_{_TURNED[event.state]}", cause=event.cause, next=hint)


def _shortage(event: ShortageChanged) -> None:
    if event.room is None:
        log(INFO, "shortage_over", error=event.why, next="as many orders are taken as before")
    elif event.began:
        hint = "fewer orders are taken until it is over; those that can't be begun are given back"
        log(ERROR, "worker_short", error=event.why, orders_at_once=event.room, next=hint)


def _collector(event: CollectorLost | CollectorRegained) -> None:
    match event:
        case CollectorLost():
            hint = "spans are dropped until the collector is back; orders are not affected"
            log(WARNING, "traces_lost", error=event.why, next=hint)
        case CollectorRegained():
            log(INFO, "traces_regained", away=event.away, next="spans are sent again")


def _resources(event: ResourcesUnready | ResourcesMade | ResourcesNotClosed) -> None:
    match event:
        case ResourcesUnready():
            hint = "no order is claimed before they are there; it is tried again"
            log(ERROR, "resources_failed", error=event.why, retry_in=event.retry_in, next=hint)
        case ResourcesMade():
            log(INFO, "resources_made", away=event.seconds, next="claiming")
        case ResourcesNotClosed():
            log(ERROR, "resources_not_closed", error=event.why, next="all orders are given back")


def _life(event: WorkerStarted | WorkerDraining | WorkerStopped) -> None:
    match event:
        case WorkerStarted():
            log(
                INFO,
                "worker_started",
                queues=",".join(event.queues),
                redis=event.redis,
                concurrency=event.concurrency,
                version=event.version,
            )
        case WorkerDraining():
            log(INFO, "worker_draining", grace_seconds=event.grace)
        case WorkerStopped():
            log(INFO, "worker_stopped", ending=event.ending, orders_held=event.held)


def _withdrawn(event: OrderWithdrawn) -> None:
    log(
        INFO,
        "order_held" if event.became is Withdrawal.HELD else "order_cancelled",
        order_id=event.order_id,
        delivery_id=delivery_id(event.worker, event.delivery),
        attempt=event.attempt,
        queue=event.queue,
        worker=event.worker,
        duration=event.duration,
        trace_id=event.trace_id,
    )


def _detail(event: Event) -> None:
    match event:
        case OrdersReceived():
            log(DEBUG, "orders_received", queue=event.queue, count=event.count)
        case OrdersStarted():
            for order in event.orders:
                told = {"order_id": order.order_id, "attempt": order.attempt}
                log(DEBUG, "order_started", **told, queue=event.queue)
        case OrdersRequeued():
            log(
                DEBUG,
                "orders_requeued",
                queue=event.queue,
                worker=event.worker,
                count=event.count,
            )
        case OrderPostponed():
            log(
                DEBUG,
                "order_postponed" if event.why or event.duration is not None else "order_scheduled",
                order_id=event.order_id,
                delivery_id=delivery_id(event.worker, event.delivery),
                attempt=event.attempt,
                queue=event.queue,
                worker=event.worker,
                duration=event.duration,
                reason=event.why or None,
                postponed_for=event.seconds,
                trace_id=event.trace_id,
            )
        case OrderDuplicated():
            log(DEBUG, "order_duplicated", order_id=event.order_id, queue=event.queue)
        case CommandSent(ok=False):
            log(DEBUG, "redis_command_failed", operation=event.operation, seconds=event.seconds)
