"""What becomes of an order after an attempt: the whole policy, in one pure function."""

from __future__ import annotations

from typing import assert_never

import msgspec

from fulfillment_worker.core.outcome import (
    Dead,
    DeadReason,
    Deferred,
    Failed,
    Fulfilled,
    Interrupted,
    Outcome,
    Postponed,
    Rejected,
    Requeued,
    Result,
    Retried,
    Stopped,
    Succeeded,
    Unattempted,
    Withdrawn,
)

_LONGEST_DELAY_MS = 10 * 365 * 86_400_000
_LATEST = 253_402_300_799.0
"""Unix seconds: the end of the year 9999."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """max_attempts: failed attempts before an order is dead. base, cap: seconds."""

    max_attempts: int
    base: float
    cap: float


def decide(  # noqa: C901 - one flat case per result
    delivery: int,
    order_id: str,
    attempt: int,
    result: Result,
    policy: RetryPolicy,
    jitter: float,
) -> Outcome:
    """The outcome of one attempt. jitter: uniform in [0, 1), drawn by the caller."""
    match result:
        case Succeeded(note=note):
            return Fulfilled(delivery, order_id, attempt, note)
        case Failed(error=error, traceback=traceback) if attempt >= policy.max_attempts:
            reason = DeadReason.ATTEMPTS_EXHAUSTED
            return Dead(delivery, order_id, attempt, error, reason, traceback)
        case Failed(error=error, after=after, traceback=traceback):
            seconds = backoff(attempt, policy, jitter) if after is None else after
            delay_ms = round(min(_LONGEST_DELAY_MS, seconds * 1000))
            return Retried(delivery, order_id, attempt, error, delay_ms, traceback)
        case Rejected(error=error, traceback=traceback):
            return Dead(delivery, order_id, attempt, error, DeadReason.REJECTED, traceback)
        case Deferred(why=why, after=None, until=until):
            at_ms = round(min(_LATEST, until or 0) * 1000)
            return Postponed(delivery, order_id, attempt, why, -1, at_ms)
        case Deferred(why=why, after=after):
            delay_ms = round(min(_LONGEST_DELAY_MS, (after or 0) * 1000))
            return Postponed(delivery, order_id, attempt, why, delay_ms, 0)
        case Interrupted() | Unattempted():
            return Requeued(delivery, order_id, attempt)
        case Stopped():
            return Withdrawn(delivery, order_id, attempt)
        case _:
            assert_never(result)


def backoff(attempt: int, policy: RetryPolicy, jitter: float) -> float:
    """Seconds before the next attempt: exponential, capped, with full jitter.

    Full jitter spreads a burst of failures best; see Marc Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015.
    """
    # 2**60 seconds outlast every cap; the bound only keeps the power from overflowing.
    return jitter * min(policy.cap, policy.base * 2.0 ** min(attempt - 1, 60))
