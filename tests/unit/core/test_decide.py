"""What becomes of an order after an attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulfillment_worker.core.decide import RetryPolicy, backoff, decide
from fulfillment_worker.core.outcome import (
    INTERRUPTED,
    SUCCEEDED,
    Dead,
    DeadReason,
    Failed,
    FailureReason,
    Fulfilled,
    Rejected,
    Requeued,
    Result,
    Retried,
)

POLICY = RetryPolicy(max_attempts=3, base=1.0, cap=10.0)
FAILED = Failed(FailureReason.HANDLER, "oh")


def outcome(result: Result, attempt: int = 1, jitter: float = 0.5) -> object:
    return decide(9, "A", attempt, result, POLICY, jitter)


def test_a_success_fulfils() -> None:
    assert outcome(SUCCEEDED) == Fulfilled(9, "A", 1)


def test_a_failure_is_retried_with_backoff() -> None:
    assert outcome(FAILED, 1) == Retried(9, "A", 1, "oh", 500)
    assert outcome(FAILED, 2) == Retried(9, "A", 2, "oh", 1000)


def test_the_last_failure_is_a_dead_letter() -> None:
    assert outcome(FAILED, 3) == Dead(9, "A", 3, "oh", DeadReason.ATTEMPTS_EXHAUSTED)
    assert outcome(FAILED, 4) == Dead(9, "A", 4, "oh", DeadReason.ATTEMPTS_EXHAUSTED)


@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_a_handler_may_say_when(jitter: float) -> None:
    """Above the cap too: the handler knows better."""
    failed = Failed(FailureReason.DEPENDENCY, "down", after=30)
    assert outcome(failed, 1, jitter) == Retried(9, "A", 1, "down", 30_000)


def test_a_delay_without_end_is_bounded() -> None:
    failed = Failed(FailureReason.DEPENDENCY, "down", after=1e306)
    retried = outcome(failed)
    assert isinstance(retried, Retried)
    assert retried.delay_ms < 2**53, "Lua's numbers are exact up to here"


def test_a_rejection_is_a_dead_letter_at_once() -> None:
    assert outcome(Rejected("no")) == Dead(9, "A", 1, "no", DeadReason.REJECTED)


def test_an_interruption_costs_nothing() -> None:
    assert outcome(INTERRUPTED, 3) == Requeued(9, "A", 3)


@given(
    st.integers(1, 10_000),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.floats(0, 1, exclude_max=True),
)
def test_backoff_stays_within_its_bounds(
    attempt: int, base: float, cap: float, jitter: float
) -> None:
    seconds = backoff(attempt, RetryPolicy(5, base, cap), jitter)
    assert 0 <= seconds <= cap


def test_jitter_is_full() -> None:
    assert backoff(3, POLICY, 0.0) == 0.0
    assert backoff(3, POLICY, 0.25) == 1.0
    assert backoff(9, POLICY, 0.5) == 5.0
