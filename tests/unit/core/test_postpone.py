"""Postponed orders: what a handler may ask for, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fulfillment_worker import Postpone, Reject, Retry
from fulfillment_worker.core.decide import RetryPolicy, decide
from fulfillment_worker.core.outcome import Deferred, Failed, Postponed, Rejected
from fulfillment_worker.core.timing import TimeRules, not_yet, too_late
from fulfillment_worker.handlers.result import meaning

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "give either after=SECONDS or until=TIME"),
        ({"after": 1, "until": NOON}, "give either"),
        ({"after": -1}, "after=-1"),
        ({"after": float("nan")}, "after=nan"),
        ({"until": NOON.replace(tzinfo=None)}, "with its time zone"),
        ({"until": float("inf")}, "until=inf"),
    ],
)
def test_postpone_without_a_usable_time_says_what_to_give(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match="Postpone") as error:
        Postpone("later", **said)
    assert why in str(error.value)


def test_postpone_means_a_time_and_a_reason() -> None:
    assert meaning(Postpone("out of stock", after=60)) == Deferred("out of stock", 60.0)
    until = NOON.timestamp()
    assert meaning(Postpone(until=NOON)) == Deferred("Postpone", None, until)
    eastern = NOON.astimezone() + timedelta(0)
    assert meaning(Postpone("x", until=eastern)) == Deferred("x", None, until)


def test_postpone_in_a_group_waits_for_the_latest_unless_something_else_failed() -> None:
    both = ExceptionGroup("", [Postpone("a", after=60), Postpone("b", after=3600)])
    assert meaning(both) == Deferred("b", 3600.0)
    assert isinstance(meaning(ExceptionGroup("", [Postpone(after=1), Retry("x")])), Failed)
    assert isinstance(meaning(ExceptionGroup("", [Postpone(after=1), Reject("x")])), Rejected)


def test_postpone_whose_time_was_spoilt_is_a_failure() -> None:
    error = Postpone("later", after=1)
    error.after = "soon"  # type: ignore[assignment]
    assert isinstance(meaning(error), Failed)


def test_postponed_order_uses_no_attempt() -> None:
    policy = RetryPolicy(1, 1.0, 1.0)
    outcome = decide(1, "A", 1, Deferred("later", 60.0), policy, 0.5)
    assert outcome == Postponed(1, "A", 1, "later", 60_000, 0)
    outcome = decide(1, "A", 1, Deferred("later", None, NOON.timestamp()), policy, 0.5)
    assert outcome == Postponed(1, "A", 1, "later", -1, round(NOON.timestamp() * 1000))


@pytest.mark.parametrize("told", ["2027-01-01T12:00:00Z", "2027-01-01T13:00:00+01:00"])
def test_times_of_an_order_are_read_from_the_named_fields(told: str) -> None:
    body = {"ship_on": told, "valid_to": told}
    noon = round(NOON.timestamp() * 1000)
    rules = TimeRules(not_before_field="ship_on", expires_field="valid_to")
    assert not_yet(body, rules, noon - 1) == noon
    assert not_yet(body, rules, noon) is None
    assert too_late(body, rules, noon - 1, noon - 1) == ""
    assert too_late(body, rules, noon, noon) == "it expired, by its field 'valid_to'"


@pytest.mark.parametrize("told", ["soon", 1e400, -5, None, True, [], {}, "2027-01-01T12:00:00"])
def test_a_time_that_is_not_usable_is_ignored(told: object) -> None:
    rules = TimeRules(not_before_field="ship_on", expires_field="ship_on")
    assert not_yet({"ship_on": told}, rules, 0) is None
    assert too_late({"ship_on": told}, rules, 2**60, 2**60) == ""
    assert not_yet({}, rules, 0) is None
