"""The worker's metrics: fed with events, served from a registry of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import assert_never

import msgspec
from prometheus_client import CollectorRegistry, Gauge, disable_created_metrics

from fulfillment_worker.core.breaker import BreakerCause, BreakerState
from fulfillment_worker.core.events import (
    AttemptEnded,
    BreakerChanged,
    CollectorLost,
    CollectorRegained,
    CommandSent,
    Event,
    Gone,
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
    ProcessCrashed,
    QueueLost,
    QueueRegained,
    QueueRolledBack,
    QueueSurveyed,
    ResourcesMade,
    ResourcesNotClosed,
    ResourcesUnready,
    ShortageChanged,
    SpansExported,
    WorkerDraining,
    WorkerStarted,
    WorkerStopped,
)
from fulfillment_worker.core.exchange import Survey
from fulfillment_worker.core.outcome import DeadReason, FailureReason, Withdrawal
from fulfillment_worker.observability import catalogue as c
from fulfillment_worker.observability import catalogue_queue as q
from fulfillment_worker.observability import catalogue_runtime as r
from fulfillment_worker.observability.instruments import Instruments
from fulfillment_worker.observability.limit_gauges import LimitGauges
from fulfillment_worker.observability.plain import Distribution, PlainCounter
from fulfillment_worker.observability.runtime_metrics import RuntimeMetrics

# OpenMetrics allows 128 characters for all names and values of an exemplar; the client library
# raises for more, and the whole page would be gone.
_LONGEST_TRACE_ID = 128 - len("trace_id")


class _QueueGauges(msgspec.Struct):
    """What a survey of one queue sets. since: Unix seconds, None while no order waits."""

    depth: Gauge
    in_flight: Gauge
    retrying: Gauge
    scheduled: Gauge
    held: Gauge
    outstanding: Gauge
    dead: Gauge
    sampled: Gauge
    unaccounted: Gauge
    limits: LimitGauges
    since: float | None = None


class Metrics:
    """All metrics of one worker process; `registry` is what the server renders.

    queues: the names of the queues served. slots: orders that can run at the same time.
    revision: of the source, "" where not known. clock: Unix seconds.

    Children are bound once, here: looking one up costs more than counting. Turning off the
    `_created` series is a switch of the whole process, as the client library has it.
    """

    def __init__(
        self,
        queues: Sequence[str],
        slots: int,
        version: str,
        revision: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=True)
        self._clock = clock
        instruments = Instruments(self.registry, queues)
        self._bind_attempts(instruments)
        self._bind_counters(instruments)
        self._bind_redis(instruments)
        self._bind_worker(instruments)
        self._queues = {queue: _queue_gauges(instruments, queue) for queue in queues}
        self._rolled_back = {
            queue: instruments.queue_counter(q.QUEUE_ROLLBACKS, queue).inc for queue in queues
        }
        instruments.gauge(c.WORKER_SLOTS).set(slots)
        instruments.gauge(c.BUILD_INFO, version, revision).set(1)
        for queue, gauges in self._queues.items():
            oldest = instruments.queue_gauge(q.QUEUE_OLDEST_ORDER, queue)
            oldest.set_function(partial(_oldest, gauges, clock))
        self._messages = PlainCounter(c.LOG_MESSAGES)
        self._dropped = PlainCounter(c.LOG_LINES_DROPPED)
        self._faults = PlainCounter(c.OBSERVER_FAULTS)
        self._spans_ended = PlainCounter(c.SPANS_ENDED)
        self._spans_exported = PlainCounter(c.SPANS_EXPORTED)
        for plain in (
            self._messages,
            self._dropped,
            self._faults,
            self._spans_ended,
            self._spans_exported,
        ):
            self.registry.register(plain)
        self.runtime = RuntimeMetrics(self.registry, on_fault=self.faulted)

    def _bind_attempts(self, made: Instruments) -> None:
        succeeded, failed = c.STATUSES
        self._succeeded = made.counter(c.ORDERS_PROCESSED, succeeded).inc
        self._failed = made.counter(c.ORDERS_PROCESSED, failed).inc
        self._success_took = made.histogram(c.ORDER_PROCESSING_DURATION, succeeded)
        self._failure_took = made.histogram(c.ORDER_PROCESSING_DURATION, failed)
        self._last_succeeded = made.gauge(c.ORDER_LAST_PROCESSED, succeeded).set
        self._last_failed = made.gauge(c.ORDER_LAST_PROCESSED, failed).set
        self._waited = made.histogram(c.ORDER_QUEUE_WAIT).observe
        self._end_to_end = made.histogram(c.ORDER_END_TO_END).observe

    def _bind_counters(self, made: Instruments) -> None:
        self._received = made.counter(c.ORDERS_RECEIVED).inc
        self._retried = made.counter(c.ORDER_RETRIES).inc
        self._recovered = {why: made.counter(c.ORDERS_RECOVERED, why).inc for why in Gone}
        self._crashed = {why: made.counter(c.WORKER_CRASHES, why).inc for why in c.CRASHES}
        self._requeued = made.counter(c.ORDERS_REQUEUED).inc
        self._postponed = made.counter(c.ORDERS_POSTPONED).inc
        self._withdrawn = {
            Withdrawal.HELD: made.counter(c.ORDERS_HELD).inc,
            Withdrawal.CANCELLED: made.counter(c.ORDERS_CANCELLED).inc,
        }
        self._duplicated = made.counter(c.ORDERS_DUPLICATE).inc
        self._failures = {
            reason: made.counter(c.ORDER_FAILURES, reason).inc for reason in FailureReason
        }
        self._dead = {
            reason: made.counter(c.ORDERS_DEAD_LETTERED, reason).inc for reason in DeadReason
        }

    def _bind_redis(self, made: Instruments) -> None:
        self._commands = {
            (operation, outcome == "ok"): made.counter(c.REDIS_COMMANDS, operation, outcome).inc
            for operation in c.OPERATIONS
            for outcome in c.OUTCOMES
        }
        self._command_took = {
            operation: made.histogram(c.REDIS_COMMAND_DURATION, operation).observe
            for operation in c.TIMED_OPERATIONS
        }

    def _bind_worker(self, made: Instruments) -> None:
        self._in_progress = made.gauge(c.ORDERS_IN_PROGRESS)
        self.tasks: Callable[[float], None] = made.gauge(r.ASYNCIO_TASKS).set
        self._last_loop = made.gauge(c.WORKER_LAST_LOOP).set
        self._lagged = made.histogram(r.ASYNCIO_LOOP_LAG).observe
        self._states = {s.value: made.gauge(c.WORKER_STATE, s) for s in c.WorkerState}
        self.state(c.WorkerState.STARTING)
        self._breakers = {s: made.gauge(c.BREAKER_STATE, s) for s in BreakerState}
        self._breaker(BreakerState.CLOSED)
        self._opened = {b: made.counter(c.BREAKER_OPENINGS, b).inc for b in BreakerCause}

    def observe(self, event: Event) -> None:
        """Record an event. Never raises an Exception: what goes wrong is counted."""
        try:
            self._record(event)
        except Exception:  # noqa: BLE001 - a metric must never fail an order
            self._faults.add()

    def faulted(self) -> None:
        """Count a fault of an observer. Never raises."""
        self._faults.add()

    def in_progress_from(self, count: Callable[[], float]) -> None:
        """Ask `count` at each scrape how many orders run; it is called in the server's thread."""

        def guarded() -> float:
            try:
                return count()
            except Exception:  # noqa: BLE001 - it would take the whole page away
                self._faults.add()
                return 0.0

        self._in_progress.set_function(guarded)

    def state(self, name: str) -> None:
        """Set the state that the worker is in. name: a value of `WorkerState`; others: no state."""
        for state, gauge in self._states.items():
            gauge.set(state == name)

    def _breaker(self, now: BreakerState) -> None:
        for state, gauge in self._breakers.items():
            gauge.set(state is now)

    def looped(self, unix_seconds: float, lag_seconds: float) -> None:
        """The event loop turned at `unix_seconds`, `lag_seconds` later than it should have."""
        self._last_loop(unix_seconds)
        lag = _seconds(lag_seconds)
        if lag is not None:
            self._lagged(lag)

    def logged(self, level: str) -> None:
        """Count a log message. level: one of `LOG_LEVELS`, others are ignored. Takes no lock."""
        self._messages.add(level)

    def log_line_dropped(self) -> None:
        """Count a log line that was not written. Never raises, takes no lock."""
        self._dropped.add()

    def _record(self, event: Event) -> None:  # noqa: C901, PLR0912, PLR0915 - one flat case per event
        # In order of frequency: a pattern costs some 40 ns to miss.
        match event:
            case OrdersFulfilled():
                self._orders_fulfilled(event.attempts)
            case OrdersStarted():
                for order in event.orders:
                    self._observe(self._waited, order.wait)
            case CommandSent():
                self._command_sent(event)
            case OrdersReceived():
                self._received(event.count)
            case QueueSurveyed():
                _survey(self._queues[event.queue], event.survey, self._clock())
            case AttemptEnded():
                self._attempt_failed(event)
            case OrderInvalid():
                self._failures[FailureReason.INVALID]()
                self._dead[DeadReason.INVALID]()
            case OrderExpired():
                self._dead[DeadReason.EXPIRED]()
            case OrderPostponed():
                self._postponed()
            case OrderWithdrawn():
                self._withdrawn[event.became]()
            case OrdersRequeued():
                self._requeued(event.count)
            case OrderDuplicated():
                self._duplicated()
            case OrdersRecovered():
                self._recovered[event.reason](event.count)
                self._dead[DeadReason.ORPHANED](event.orphaned)
            case ProcessCrashed():
                self._crashed[event.reason]()
            case BreakerChanged():
                self._breaker(event.state)
                if event.state is BreakerState.OPEN:
                    self._opened[event.cause]()
            case SpansExported():
                self._spans_sent(event)
            case QueueRolledBack():
                self._rolled_back[event.queue]()
            case WorkerStarted():
                self.state("consuming")
            case WorkerDraining():
                self.state("draining")
            case WorkerStopped():
                self.state("stopped")
            case LeaseLost() | QueueLost() | QueueRegained():
                pass  # the orders that it concerns are told one by one; probes and logs tell why
            case CollectorLost() | CollectorRegained() | ShortageChanged() | NoteLost():
                pass  # other counts tell: of spans, of slots in use, of fulfilled orders
            case ResourcesUnready() | ResourcesMade() | ResourcesNotClosed():
                pass  # the state says that it doesn't consume; probes and logs tell why
            case _:
                assert_never(event)

    def _orders_fulfilled(self, attempts: list[AttemptEnded]) -> None:
        self._succeeded(len(attempts))
        self._last_succeeded(self._clock())
        for attempt in attempts:
            self._took(self._success_took, attempt)
            if attempt.end_to_end is not None:
                self._observe(self._end_to_end, attempt.end_to_end)

    def _attempt_failed(self, event: AttemptEnded) -> None:
        self._failed()
        self._took(self._failure_took, event)
        self._last_failed(self._clock())
        if event.retry_in is not None:
            self._retried()
        if event.dead is not None:
            self._dead[event.dead]()
        if event.reason is not None:
            self._failures[event.reason]()

    @staticmethod
    def _took(series: Distribution, attempt: AttemptEnded) -> None:
        duration = _duration(attempt.duration)
        series.observe(duration)
        if attempt.trace_id and len(attempt.trace_id) <= _LONGEST_TRACE_ID:
            series.exemplify(duration, attempt.trace_id)

    def _command_sent(self, event: CommandSent) -> None:
        operation = event.operation if event.operation in c.OPERATIONS else "other"
        self._commands[operation, event.ok]()
        took = self._command_took.get(operation)
        if took is not None:
            self._observe(took, event.seconds)

    def _spans_sent(self, event: SpansExported) -> None:
        self._spans_ended.add(count=event.ended)
        self._spans_exported.add("ok", event.exported)
        self._spans_exported.add("error", event.failed)

    @staticmethod
    def _observe(histogram: Callable[[float], None], value: float | None) -> None:
        seconds = _seconds(value)
        if seconds is not None:
            histogram(seconds)


def _seconds(value: float | None) -> float | None:
    """None where it is no number: one NaN would poison a histogram's sum for ever.

    Below zero it is 0: clocks of two hosts disagree, and a sum that falls looks like a restart.
    """
    if value is None or not -inf < value < inf:
        return None
    return value if value > 0.0 else 0.0


def _duration(value: float) -> float:
    """As `_seconds`, but always a number: counts of durations and of attempts must agree."""
    return value if 0.0 <= value < inf else 0.0


def _queue_gauges(made: Instruments, queue: str) -> _QueueGauges:
    return _QueueGauges(
        depth=made.queue_gauge(q.QUEUE_DEPTH, queue),
        in_flight=made.queue_gauge(q.IN_FLIGHT_DEPTH, queue),
        retrying=made.queue_gauge(q.RETRY_DEPTH, queue),
        scheduled=made.queue_gauge(q.SCHEDULED_DEPTH, queue),
        held=made.queue_gauge(q.HELD_DEPTH, queue),
        outstanding=made.queue_gauge(q.OUTSTANDING_ORDERS, queue),
        dead=made.queue_gauge(q.DEAD_LETTER_DEPTH, queue),
        sampled=made.queue_gauge(q.QUEUE_SAMPLE, queue),
        unaccounted=made.queue_gauge(q.ORDERS_UNACCOUNTED, queue),
        limits=LimitGauges(made, queue),
    )


def _survey(gauges: _QueueGauges, survey: Survey, now: float) -> None:
    """now: Unix seconds. Prometheus compares with its own clock, of which Redis's knows nothing."""
    gauges.depth.set(survey.waiting)
    gauges.in_flight.set(survey.in_flight)
    gauges.retrying.set(survey.retrying)
    gauges.scheduled.set(survey.scheduled)
    gauges.held.set(survey.held)
    gauges.outstanding.set(survey.waiting + survey.in_flight + survey.retrying)
    gauges.dead.set(survey.dead)
    # An order that came this very moment must begin to age, too, should Redis be away from now on.
    waits = survey.waiting > 0 or survey.oldest < survey.at
    gauges.since = now - (survey.at - survey.oldest) / 1000 if waits else None
    gauges.sampled.set(now)
    gauges.unaccounted.set(survey.unaccounted)
    gauges.limits.show(survey)


def _oldest(gauges: _QueueGauges, clock: Callable[[], float]) -> float:
    """Computed at the scrape: an idle worker surveys seldom, and nothing must seem to age."""
    return clock() if gauges.since is None else gauges.since
