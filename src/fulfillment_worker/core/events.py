"""What happened, as records: the only thing that observability is told."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from fulfillment_worker.core.breaker import BreakerCause, BreakerState
from fulfillment_worker.core.exchange import Survey
from fulfillment_worker.core.outcome import DeadReason, FailureReason, Withdrawal


class OrdersReceived(msgspec.Struct, frozen=True):
    """Orders were claimed from the public list."""

    queue: str
    count: int


class OrderStarted(msgspec.Struct, frozen=True, gc=False):
    """A first attempt begins. wait: seconds since it was enqueued, None where not known."""

    order_id: str
    attempt: int
    wait: float | None


class OrdersStarted(msgspec.Struct, frozen=True):
    """First attempts begin: all those that one exchange cleared."""

    queue: str
    orders: list[OrderStarted]


class AttemptEnded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An attempt ended and Redis recorded it, or refused to (`lease_lost`).

    As an event of its own it tells of a failure; successes come together, in OrdersFulfilled.

    duration: seconds of the handler and of the recording. reason: None for a success.
    end_to_end: seconds from enqueued to fulfilled, where known.
    retry_in: seconds until the next attempt, where there will be one.
    dead: why the order is a dead letter now, if it is.
    traceback: where the handler raised, in lines; "" where it raised nothing.
    """

    queue: str
    worker: str
    order_id: str
    delivery: int
    attempt: int
    duration: float
    reason: FailureReason | None = None
    error: str = ""
    traceback: str = ""
    end_to_end: float | None = None
    retry_in: float | None = None
    dead: DeadReason | None = None
    trace_id: str | None = None


class OrdersFulfilled(msgspec.Struct, frozen=True):
    """Attempts succeeded, and Redis recorded it: all those of one exchange, as they ended.

    One event, since these are nearly all that happens: what can be done for many at once is.
    """

    queue: str
    worker: str
    attempts: list[AttemptEnded]


class OrderInvalid(msgspec.Struct, frozen=True):
    """An entry was no order, and is a dead letter now.

    delivery: None where it was never sent to the worker, since it is too large.
    """

    queue: str
    worker: str
    delivery: int | None
    why: str


class OrderExpired(msgspec.Struct, frozen=True):
    """An order became a dead letter, since it was too old to be attempted (again)."""

    queue: str
    worker: str
    order_id: str
    delivery: int
    why: str


class NoteLost(msgspec.Struct, frozen=True):
    """An order was fulfilled, and what its handler returned can't be its note."""

    queue: str
    order_id: str
    why: str


class OrderPostponed(msgspec.Struct, frozen=True, kw_only=True):
    """An order was put aside until a time, and Redis recorded it.

    why: the handler's reason; "" where the order itself says when. seconds: from now on, where that
    is known. duration: of the handler and the recording, in seconds; None where it didn't run.
    """

    queue: str
    worker: str
    order_id: str
    delivery: int
    attempt: int
    why: str
    seconds: float
    duration: float | None = None
    trace_id: str | None = None


class OrderWithdrawn(msgspec.Struct, frozen=True, kw_only=True):
    """An order was held or cancelled, as an operator wishes. duration: of the attempt that was
    stopped, in seconds; None where none was.
    """

    queue: str
    worker: str
    order_id: str
    delivery: int
    attempt: int
    became: Withdrawal
    duration: float | None = None
    trace_id: str | None = None


class OrdersRequeued(msgspec.Struct, frozen=True):
    """Orders were given back, at no cost to them."""

    queue: str
    worker: str
    count: int


class OrderDuplicated(msgspec.Struct, frozen=True):
    """A copy of a fulfilled order was acknowledged without being handled."""

    queue: str
    order_id: str


class Gone(StrEnum):
    """How it is known that a worker is gone."""

    LEASE = "lease"  # it was silent for longer than its lease
    KILLED = "killed"  # its supervisor saw it end by a signal, or has killed it since it hung
    OOM = "oom"  # the kernel killed it for want of memory
    EXIT = "exit"  # its supervisor saw it end by itself


class OrdersRecovered(msgspec.Struct, frozen=True):
    """Orders of a worker that is gone were put back; `orphaned` of them are dead letters now."""

    queue: str
    count: int
    orphaned: int
    reason: Gone = Gone.LEASE


class ProcessCrashed(msgspec.Struct, frozen=True):
    """A worker process ended unasked, or hung and was killed by its supervisor."""

    process: str
    reason: Gone


class LeaseLost(msgspec.Struct, frozen=True):
    """This worker was silent for longer than its lease; its orders are others' now."""

    queue: str
    worker: str
    orders: int


class QueueSurveyed(msgspec.Struct, frozen=True):
    """The queue's depths were read."""

    queue: str
    survey: Survey


class QueueLost(msgspec.Struct, frozen=True):
    """Redis can't be asked, or refuses; claiming goes on by itself when it is back."""

    queue: str
    why: str


class QueueRegained(msgspec.Struct, frozen=True):
    """Redis answers again, or for the first time. away: seconds."""

    queue: str
    away: float
    first: bool = False


class QueueRolledBack(msgspec.Struct, frozen=True):
    """Redis knows of fewer orders than before: it was flushed, or came back with older data.

    before, now: orders that it had received, by its own count.
    """

    queue: str
    before: int
    now: int


class BreakerChanged(msgspec.Struct, frozen=True):
    """Claiming stopped, went down to probes, or goes on: see core/breaker.py.

    cause: why it stopped, also of the states after that.
    """

    state: BreakerState
    cause: BreakerCause = BreakerCause.FAILURES


class ShortageChanged(msgspec.Struct, frozen=True):
    """The worker is short of something of its own, and takes fewer orders.

    room: how many it takes; None where the shortage is over. began: whether it has just begun.
    """

    why: str
    room: int | None
    began: bool = False


class CommandSent(msgspec.Struct, frozen=True):
    """A Redis command was answered. seconds: None for one that waits for orders."""

    operation: str
    ok: bool
    seconds: float | None


class SpansExported(msgspec.Struct, frozen=True):
    """Spans were sent to the collector of traces. ended: since the last such event, sent or not."""

    ended: int
    exported: int
    failed: int


class CollectorLost(msgspec.Struct, frozen=True):
    """The collector of traces can't be reached, or refuses spans."""

    why: str


class CollectorRegained(msgspec.Struct, frozen=True):
    """The collector takes spans again. away: seconds."""

    away: float


class ResourcesUnready(msgspec.Struct, frozen=True):
    """The handler's resources could not be made. retry_in: seconds until they are tried again."""

    why: str
    retry_in: float


class ResourcesMade(msgspec.Struct, frozen=True):
    """The handler's resources were made, after attempts that failed. seconds: since the first."""

    seconds: float


class ResourcesNotClosed(msgspec.Struct, frozen=True):
    """The handler's resources could not be closed, or not in time."""

    why: str


class WorkerStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The worker starts to consume. redis: its URL, without secrets."""

    queues: tuple[str, ...]
    redis: str
    concurrency: int
    version: str


class WorkerDraining(msgspec.Struct, frozen=True):
    """The worker was told to stop. grace: seconds in which running orders may end."""

    grace: float


class WorkerStopped(msgspec.Struct, frozen=True):
    """The worker has stopped. ending: "drained", "aborted" or "stranded".

    held: orders that it could not give back.
    """

    ending: str
    held: int


Event = (
    OrdersReceived
    | OrdersStarted
    | OrdersFulfilled
    | AttemptEnded
    | OrderInvalid
    | OrderExpired
    | NoteLost
    | OrderPostponed
    | OrderWithdrawn
    | OrdersRequeued
    | OrderDuplicated
    | OrdersRecovered
    | ProcessCrashed
    | LeaseLost
    | QueueSurveyed
    | QueueLost
    | QueueRegained
    | QueueRolledBack
    | BreakerChanged
    | ShortageChanged
    | CommandSent
    | SpansExported
    | CollectorLost
    | CollectorRegained
    | ResourcesUnready
    | ResourcesMade
    | ResourcesNotClosed
    | WorkerStarted
    | WorkerDraining
    | WorkerStopped
)
