"""When claiming stops because the handler's dependency is down."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulfillment_worker.core.breaker import (
    Breaker,
    BreakerCause,
    BreakerRules,
    BreakerState,
    _Window,
)
from fulfillment_worker.core.outcome import (
    INTERRUPTED,
    SUCCEEDED,
    Failed,
    FailureReason,
    Rejected,
    Result,
)

RULES = BreakerRules(
    window=10,
    at_least=5,
    share=0.8,
    first_pause=1,
    longest_pause=4,
    successes=2,
    longest_pause_rejected=3,
)
REJECTED: Result = Rejected("no such SKU")
FAILED = Failed(FailureReason.DEPENDENCY, "down")


def breaker(*results: Result, now: float = 0.0) -> Breaker:
    made = Breaker(RULES)
    for result in results:
        made.record(result, now)
    return made


def opened() -> Breaker:
    made = breaker(*[FAILED] * 5)
    assert made.state is BreakerState.OPEN
    return made


def test_it_is_closed_at_first() -> None:
    assert breaker().room(0) is None


def test_few_failures_say_nothing() -> None:
    assert breaker(*[FAILED] * 4).room(0) is None


def test_failures_among_many_successes_say_nothing() -> None:
    assert breaker(*[SUCCEEDED] * 2, *[FAILED] * 5).room(0) is None


def test_it_opens_when_most_attempts_fail() -> None:
    assert opened().room(0.5) == 0
    assert breaker(SUCCEEDED, *[FAILED] * 4).room(0) == 0


def test_old_failures_are_forgotten() -> None:
    made = breaker(*[FAILED] * 4)
    made.record(FAILED, 11)
    assert made.state is BreakerState.CLOSED


def test_what_says_nothing_of_a_dependency_does_not_count() -> None:
    rejected: Result = Rejected("no such SKU")
    assert breaker(*[rejected] * 9).room(0) is None
    assert breaker(*[INTERRUPTED] * 9).room(0) is None
    lost: Result = Failed(FailureReason.LEASE_LOST, "")
    assert breaker(*[lost] * 9).room(0) is None


def test_after_a_pause_one_probe_at_a_time() -> None:
    made = opened()
    assert made.room(0.99) == 0
    assert made.room(1.0) == 1


def test_what_began_before_it_opened_changes_nothing() -> None:
    made = opened()
    made.record(SUCCEEDED, 0.1)
    made.record(FAILED, 0.2)
    assert made.room(0.99) == 0
    assert made.room(1.0) == 1


def test_successful_probes_close_it() -> None:
    made = opened()
    made.room(1)
    made.record(SUCCEEDED, 1.1)
    assert made.room(1.2) == 1
    made.record(SUCCEEDED, 1.3)
    assert made.room(1.4) is None
    made.record(FAILED, 1.5)
    assert made.room(1.6) is None, "it starts anew"


def test_each_failed_probe_makes_the_pause_longer_up_to_a_bound() -> None:
    made, now = opened(), 0.0
    for pause in (1, 2, 4, 4):
        assert made.room(now + pause - 0.01) == 0
        now += pause
        assert made.room(now) == 1
        made.record(FAILED, now)


def test_a_reject_is_a_successful_probe() -> None:
    made = opened()
    made.room(1)
    made.record(Rejected("no"), 1.1)
    made.record(Rejected("no"), 1.2)
    assert made.state is BreakerState.CLOSED


def by_rejections(*, before: int = 100) -> Breaker:
    """Opened by rejections, after `before` successes."""
    made = breaker(*[SUCCEEDED] * before, *[REJECTED] * 19)
    assert made.state is BreakerState.CLOSED
    made.record(REJECTED, 0)
    assert (made.state, made.cause) == (BreakerState.OPEN, BreakerCause.REJECTIONS)
    return made


@pytest.mark.parametrize("before", [0, 1, 10_000])
def test_rejections_of_all_orders_open_it(before: int) -> None:
    made = by_rejections(before=before)
    assert made.room(0.99) == 0
    assert made.room(1.0) == 1


def test_rejections_open_it_also_where_failures_are_among_them() -> None:
    made = breaker(*[SUCCEEDED] * 100, *[REJECTED, REJECTED, FAILED] * 10)
    assert (made.state, made.cause) == (BreakerState.OPEN, BreakerCause.REJECTIONS)


def test_rejections_with_a_success_among_them_leave_it_closed() -> None:
    assert breaker(*[*[REJECTED] * 19, SUCCEEDED] * 50).state is BreakerState.CLOSED


def test_rejected_probes_make_the_pause_longer_up_to_a_bound_of_their_own() -> None:
    made, now = by_rejections(), 0.0
    for pause in (1, 2, 3, 3):
        assert made.room(now + pause - 0.01) == 0
        now += pause
        assert made.room(now) == 1
        made.record(REJECTED, now)


def test_one_success_closes_it_after_rejections() -> None:
    made = by_rejections()
    made.room(1)
    made.record(SUCCEEDED, 1.1)
    assert made.room(1.2) is None


def test_failed_probe_after_rejections_makes_it_an_outage_of_failures() -> None:
    made = by_rejections()
    made.room(1)
    made.record(FAILED, 1.1)
    assert (made.state, made.cause) == (BreakerState.OPEN, BreakerCause.FAILURES)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.8])
def test_orders_that_are_often_rejected_for_good_reasons_leave_it_closed(share: float) -> None:
    draw, made, opened = random.Random(1), Breaker(BreakerRules()), 0
    for number in range(100_000):
        made.room(number)
        made.record(REJECTED if draw.random() < share else SUCCEEDED, number)
        opened += made.state is BreakerState.OPEN
    assert opened == 0


def test_orders_that_are_nearly_always_rejected_go_on_once_that_is_known() -> None:
    draw, made, opened = random.Random(1), Breaker(BreakerRules()), 0
    for number in range(100_000):
        made.room(number)
        made.record(REJECTED if draw.random() < 0.95 else SUCCEEDED, number)
        opened += made.state is not BreakerState.CLOSED
    assert opened < 1000
    assert made.state is BreakerState.CLOSED


def test_outage_that_was_overcome_is_noticed_when_it_comes_again() -> None:
    made = breaker(*[SUCCEEDED] * 1000)
    for now in range(0, 50, 10):
        for _ in range(21):
            made.record(REJECTED, now)
        assert made.room(now) == 0
        assert made.room(now + 1) == 1
        for _ in range(200):
            made.record(SUCCEEDED, now + 1)
        assert made.room(now + 1) is None


def test_it_can_be_off() -> None:
    off = Breaker(None)
    for _ in range(100):
        off.record(FAILED, 0)
    assert off.room(0) is None


def test_its_memory_is_bounded() -> None:
    made = breaker(*[SUCCEEDED] * 3000, *[FAILED] * 159)
    assert made.room(0) is None
    made.record(FAILED, 0)
    assert made.room(0) == 0


@given(
    window=st.floats(0.2, 2),
    attempts=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.001, 0.03, 0.1, 0.11, 0.3, 0.5, 3.0]),
            st.booleans(),
            st.sampled_from([1, 1, 1, 3, 400]),
        ),
        max_size=60,
    ),
)
def test_its_window_is_the_last_200_attempts_within_some_seconds(
    window: float, attempts: list[tuple[float, bool, int]]
) -> None:
    """It counts in runs: an attempt may be forgotten up to 0.1 s early, and never late."""
    runs, naive, now = _Window(window), deque[tuple[float, bool]](maxlen=200), 0.0
    for passed, failed, many in attempts:
        now += passed
        for _ in range(many):
            runs.note(failed, now)
            naive.append((now, failed))
        within = [failed for at, failed in naive if now - at <= window]
        surely = [failed for at, failed in naive if now - at <= window - 0.1]
        assert len(surely) <= runs.many <= len(within)
        assert runs.failures == sum(within[len(within) - runs.many :]), "the latest ones"
        assert len(runs._runs) <= 200
