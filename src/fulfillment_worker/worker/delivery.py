"""One delivery of an order, on its way through this worker."""

from __future__ import annotations

from asyncio import Task
from enum import Enum
from typing import Protocol

from fulfillment_worker.core.exchange import Begin, Claimed
from fulfillment_worker.core.order import Order
from fulfillment_worker.core.outcome import SUCCEEDED, Outcome, Result, Succeeded


class Stage(Enum):
    """Where a delivery stands. It goes down this list, and may leave out stages."""

    ASKING = "asking"
    """The exchanges ask whether its attempt may begin."""
    READY = "ready"
    """Its attempt has begun for Redis, and waits for a task."""
    RUNNING = "running"
    """Its handler runs."""
    STOPPING = "stopping"
    """Its handler was told to stop."""
    ENDED = "ended"
    """It has an outcome, which the exchanges carry until Redis has recorded it."""
    GONE = "gone"
    """The worker doesn't hold it any more."""


# Python 3.11 takes eight times as long to find a member in its class.
ASKING, READY, RUNNING, STOPPING, ENDED, GONE = Stage


class Owner(Protocol):
    """Who holds a delivery, and is told how its attempt ended."""

    def attempt_ended(self, delivery: Delivery, result: Result) -> None:
        """Called in the loop, once at most for each delivery."""
        ...


class Delivery:
    """What the worker knows of an order that it holds. It is the Attempt that a handler sees.

    id: unique in one worker under one name. attempt: 1 for the first; crashes and shutdowns don't
    count. order: as its handler gets it; None where the entry is no order. started: monotonic
    seconds, 0.0 before. task: in which the handler runs. cut_short: how the attempt ends if it was
    told to stop. too_late: why it must not start, "" where it may. result, outcome: once it has
    ended.
    """

    __slots__ = (
        "attempt",
        "claimed",
        "cut_short",
        "id",
        "order",
        "outcome",
        "owner",
        "result",
        "stage",
        "started",
        "task",
        "too_late",
    )

    def __init__(self, claimed: Claimed, owner: Owner) -> None:
        self.claimed = claimed
        self.owner = owner
        self.id = claimed.delivery
        self.stage = ASKING
        self.attempt = claimed.failures + 1
        self.order: Order | None = None
        self.started = 0.0
        self.task: Task[None] | None = None
        self.too_late = ""
        self.cut_short: Result | None = None
        self.result: Result | None = None
        self.outcome: Outcome | None = None

    @property
    def is_underway(self) -> bool:
        """Whether its attempt has begun for Redis, and not ended."""
        return self.stage in _UNDERWAY

    @property
    def moved_bytes(self) -> int:
        """Bytes that its end moves within the queue: the order's, or the note of a success."""
        result = self.result
        return len(result.note) if isinstance(result, Succeeded) else len(self.claimed.raw)

    def hand_on(self, order: Order) -> None:
        """See Attempt. From its trace context, events get their trace id."""
        self.order = order

    def raised(self, error: BaseException) -> None:
        """See Attempt. An exception would keep all that its frames refer to."""


_UNDERWAY = (READY, RUNNING, STOPPING)


def first_of(ended: list[Delivery], most_bytes: int) -> list[Delivery]:
    """As many as one exchange may record, by the bytes that they move."""
    bytes_moved = 0
    for count, delivery in enumerate(ended, 1):
        if delivery.result is not SUCCEEDED:
            bytes_moved += delivery.moved_bytes
        if bytes_moved >= most_bytes:
            return ended[:count]
    return ended


def ask(delivery: Delivery, order: Order) -> Begin:
    """The request to begin an attempt."""
    queued_at = delivery.claimed.first_seen
    if order.enqueued_unix is not None:
        queued_at = round(order.enqueued_unix * 1000)
    return Begin(delivery.id, order.id, order.attempt, queued_at)
