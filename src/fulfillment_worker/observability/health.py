"""What the probes answer, as plain state: written by the worker, read by the server's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from fulfillment_worker.core.breaker import BreakerCause, BreakerState
from fulfillment_worker.core.events import (
    BreakerChanged,
    Event,
    QueueLost,
    QueueRegained,
    ResourcesUnready,
    ShortageChanged,
    WorkerDraining,
    WorkerStarted,
    WorkerStopped,
)
from fulfillment_worker.observability.catalogue import WorkerState


class Probed(Protocol):
    """What the probes are answered from."""

    def livez(self) -> tuple[bool, str]:
        """Whether it turns, and one line that says so."""
        ...

    def readyz(self) -> tuple[bool, str]:
        """Whether orders are being taken, and one line with the reason if not."""
        ...


class Health:
    """Whether the worker's loop turns (live), and whether it consumes (ready).

    Safe without locks: each attribute is replaced as a whole, and the dict is copied to be read.
    stuck_after: seconds without a turn of the loop after which it counts as stuck.
    clock: monotonic seconds, the same clock as the argument of `looped`.
    """

    def __init__(self, *, stuck_after: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stuck_after = stuck_after
        self._clock = clock
        self._state = WorkerState.STARTING
        self._waits = ""
        self._turned: float | None = None
        self._problems: dict[str, str] = {}
        self._remark = ""
        self._shortage: str | None = None

    @property
    def state(self) -> WorkerState:
        """Where the worker is in its life."""
        return self._state

    @property
    def turned(self) -> float | None:
        """When the loop last turned; None before its first turn, and once it need not any more."""
        return None if self._state is WorkerState.STOPPED else self._turned

    def starting(self, why: str = "") -> None:
        """The worker is not yet consuming. why: what it waits for, in one line without secrets."""
        self._state = WorkerState.STARTING
        self._waits = why

    def consuming(self) -> None:
        """The worker takes orders."""
        self._state = WorkerState.CONSUMING

    def draining(self) -> None:
        """The worker takes no more orders, and finishes those that it has."""
        self._state = WorkerState.DRAINING

    def stopped(self) -> None:
        """The worker has ended; its loop need not turn any more."""
        self._state = WorkerState.STOPPED

    def unready(self, queue: str, why: str) -> None:
        """The queue can't be served. why: one line, without secrets."""
        self._problems[queue] = why

    def ready(self, queue: str) -> None:
        """The queue can be served (again)."""
        self._problems.pop(queue, None)

    def remark(self, text: str) -> None:
        """What a person should know of a worker that is ready. text: one line, "" for nothing."""
        self._remark = text

    def short(self, why: str | None) -> None:
        """The worker can't begin any order, or (None) can again. why: one line."""
        self._shortage = why

    def looped(self, monotonic: float) -> None:
        """The worker's loop turned. monotonic: seconds."""
        self._turned = monotonic

    def livez(self) -> tuple[bool, str]:
        """Whether the loop turns, and one line that says so.

        Before its first turn nothing is stuck yet: a slow import of a handler is no hang.
        """
        if self._turned is None or self._state is WorkerState.STOPPED:
            return True, self._state.value
        silent = self._clock() - self._turned
        if silent > self._stuck_after:
            return False, f"stuck: the event loop has not turned for {silent:.1f} s"
        return True, "ok"

    def readyz(self) -> tuple[bool, str]:
        """Whether orders are being taken, and one line with the reason if not."""
        if self._state is not WorkerState.CONSUMING:
            waits = self._waits if self._state is WorkerState.STARTING else ""
            return False, f"{self._state.value}: {waits}" if waits else self._state.value
        live, why = self.livez()
        if not live:
            return False, why
        if self._shortage is not None:
            return False, self._shortage
        problems = dict(self._problems)
        if problems:
            return False, "; ".join(f"queue {queue}: {why}" for queue, why in problems.items())
        return True, f"ok; {self._remark}" if self._remark else "ok"


_BREAKER_OPEN = {
    BreakerCause.FAILURES: "the breaker is open, since nearly all attempts fail",
    BreakerCause.REJECTIONS: "the breaker is open, since all orders of late were rejected",
}


class HealthObserver:
    """Keeps health up to date: the worker's life, whether each queue can be served, the breaker."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def observe(self, event: Event) -> None:  # noqa: C901 - one flat case per event
        """See Observer."""
        match event:
            case QueueLost():
                self._health.unready(event.queue, event.why)
            case QueueRegained():
                self._health.ready(event.queue)
            case BreakerChanged():
                closed = event.state is BreakerState.CLOSED
                self._health.remark("" if closed else _BREAKER_OPEN[event.cause])
            case ShortageChanged():
                self._health.short(event.why if event.room == 0 else None)
            case ResourcesUnready():
                self._health.starting(f"the handler's resources can't be made: {event.why}")
            case WorkerStarted():
                for queue in event.queues:
                    self._health.unready(queue, "Redis has not answered yet")
                self._health.consuming()
            case WorkerDraining():
                self._health.draining()
            case WorkerStopped():
                self._health.stopped()
