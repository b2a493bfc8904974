"""How an attempt went (a result), and what becomes of the order (an outcome), as data.

Outcomes are arrays on the wire: their fields, in this order, are what `exchange.lua` reads.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class FailureReason(StrEnum):
    """Label values of `order_failures_total`."""

    INVALID = "invalid"
    TIMEOUT = "timeout"
    HANDLER = "handler"
    REJECTED = "rejected"
    DEPENDENCY = "dependency"
    LEASE_LOST = "lease_lost"
    INTERNAL = "internal"


class DeadReason(StrEnum):
    """Label values of `orders_dead_lettered_total`."""

    INVALID = "invalid"
    REJECTED = "rejected"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    ORPHANED = "orphaned"
    EXPIRED = "expired"


class Withdrawal(StrEnum):
    """What an operator has made of an order: it waits until it is released, or has ended."""

    HELD = "held"
    CANCELLED = "cancelled"


class Succeeded(msgspec.Struct, frozen=True):
    """The handler returned. Where it returned no note, this is SUCCEEDED.

    note: JSON, "" for none. fault: why what it returned can't be the note, "" for none.
    """

    note: str = ""
    fault: str = ""


class Failed(msgspec.Struct, frozen=True):
    """The attempt failed and may be tried again. after: seconds to wait at least, if asked for.

    traceback: lines, bounded; "" where the shop's code raised nothing. So it is below.
    """

    reason: FailureReason
    error: str
    after: float | None = None
    traceback: str = ""


class Rejected(msgspec.Struct, frozen=True):
    """The handler said that no attempt can ever succeed."""

    error: str
    traceback: str = ""


class Deferred(msgspec.Struct, frozen=True):
    """The handler wants the order to come back later; it counts against nobody.

    after: seconds from now on; until: Unix seconds. One of them is given.
    """

    why: str
    after: float | None = None
    until: float | None = None


class Interrupted(msgspec.Struct, frozen=True):
    """The worker cut the attempt short to shut down; it counts against nobody."""


class Stopped(msgspec.Struct, frozen=True):
    """An operator wants the order held or cancelled; the attempt counts against nobody."""

    becomes: Withdrawal


class Unattempted(msgspec.Struct, frozen=True):
    """The worker was short of something of its own, such as threads; it counts against nobody."""

    why: str


Result = Succeeded | Failed | Rejected | Deferred | Interrupted | Stopped | Unattempted

SUCCEEDED = Succeeded()
INTERRUPTED = Interrupted()


class Fulfilled(msgspec.Struct, frozen=True, array_like=True, tag="fulfilled"):
    """Acknowledged; never handled again. note: what its handler returned, as JSON; "" for none."""

    delivery: int
    order_id: str
    attempt: int
    note: str = ""


class Retried(msgspec.Struct, frozen=True, array_like=True, tag="retried"):
    """To be attempted again, in delay_ms milliseconds at the earliest."""

    delivery: int
    order_id: str
    attempt: int
    error: str
    delay_ms: int
    traceback: str = ""


class Dead(msgspec.Struct, frozen=True, array_like=True, tag="dead"):
    """Put aside, with the reason. order_id is "" where the entry has no usable id."""

    delivery: int
    order_id: str
    attempt: int
    error: str
    reason: DeadReason
    traceback: str = ""


class Requeued(msgspec.Struct, frozen=True, array_like=True, tag="requeued"):
    """Given back; it costs no attempt. order_id is "" where the order had not begun."""

    delivery: int
    order_id: str
    attempt: int


class Postponed(msgspec.Struct, frozen=True, array_like=True, tag="postponed"):
    """It comes back in delay_ms milliseconds, or, where that is -1, at at_ms (Unix milliseconds).

    It costs no attempt.
    """

    delivery: int
    order_id: str
    attempt: int
    why: str
    delay_ms: int
    at_ms: int


class Scheduled(msgspec.Struct, frozen=True, array_like=True, tag="scheduled"):
    """Not to be attempted before at_ms (Unix milliseconds), as the order itself says."""

    delivery: int
    order_id: str
    attempt: int
    at_ms: int


class Withdrawn(msgspec.Struct, frozen=True, array_like=True, tag="withdrawn"):
    """Stopped for an operator. The queue knows what is wished: held, cancelled, or, where that was
    taken back since, given back.
    """

    delivery: int
    order_id: str
    attempt: int


Outcome = Fulfilled | Retried | Dead | Requeued | Postponed | Scheduled | Withdrawn
