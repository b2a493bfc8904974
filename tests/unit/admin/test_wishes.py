"""What is said of holding, releasing and cancelling orders."""

from __future__ import annotations

import pytest

from fulfillment_worker.admin.rules.why import wished, withdrawn
from fulfillment_worker.admin.rules.wishes import (
    Act,
    Result,
    Wished,
    after_waiting,
    at_once,
    is_open,
)


def met(act: Act, was: str = "", wish: str = "", many: int = 0) -> tuple[Result, str]:
    deed = at_once(act, "A", "orders", Wished(was, wish, "", many))
    return deed.result, deed.told


@pytest.mark.parametrize("act", [Act.HOLD, Act.CANCEL])
def test_wish_for_a_fulfilled_order_is_too_late(act: Act) -> None:
    result, told = met(act, "fulfilled")
    assert result is Result.TOO_LATE
    assert told.startswith("too late: it is fulfilled")


def test_hold_takes_effect_later_where_the_order_waits() -> None:
    assert met(Act.HOLD, "retrying") == (
        Result.PENDING,
        "it is retrying: it will be held when its turn comes",
    )
    assert "has not arrived" in met(Act.HOLD)[1]
    assert "if it is retried" in met(Act.HOLD, "dead")[1]


def test_hold_does_not_take_the_place_of_a_cancellation() -> None:
    assert met(Act.HOLD, "retrying", "cancel")[0] is Result.REFUSED
    assert met(Act.CANCEL, "retrying", "hold")[0] is Result.PENDING
    assert met(Act.HOLD, "cancelled")[0] is Result.REFUSED


@pytest.mark.parametrize("was", ["held", "dead", ""])
def test_cancel_is_done_at_once_where_nothing_has_to_be_searched(was: str) -> None:
    assert met(Act.CANCEL, was, many=1)[0] is Result.CANCELLED


def test_acts_may_be_repeated() -> None:
    assert met(Act.HOLD, "held") == (Result.HELD, "it is held already")
    assert met(Act.CANCEL, "cancelled") == (Result.CANCELLED, "it is cancelled already")


def test_release_says_what_it_released() -> None:
    assert met(Act.RELEASE, "held", many=1)[0] is Result.RELEASED
    assert met(Act.RELEASE, "", "cancel") == (
        Result.RELEASED,
        "it goes on: it was to be cancelled",
    )
    assert met(Act.RELEASE, "cancelled")[0] is Result.REFUSED
    assert met(Act.RELEASE, "retrying")[0] is Result.REFUSED


@pytest.mark.parametrize(
    ("act", "status", "wish", "result"),
    [
        (Act.HOLD, "held", "", Result.HELD),
        (Act.CANCEL, "cancelled", "", Result.CANCELLED),
        (Act.CANCEL, "fulfilled", "", Result.TOO_LATE),
        (Act.HOLD, "processing", "hold", Result.PENDING),
        (Act.HOLD, "retrying", "hold", Result.PENDING),
        (Act.HOLD, "dead", "hold", Result.PENDING),
        (Act.HOLD, "cancelled", "", Result.OVERTAKEN),
        (Act.CANCEL, "retrying", "", Result.OVERTAKEN),
    ],
)
def test_order_that_was_in_flight_ends_as_it_is_told(
    act: Act, status: str, wish: str, result: Result
) -> None:
    deed = after_waiting(act, "A", "orders", "w-1", status, wish)
    assert deed.result is result
    failed = result in (Result.TOO_LATE, Result.OVERTAKEN)
    assert deed.is_done is not failed


def test_waiting_ends_when_the_attempt_has_ended() -> None:
    assert is_open("processing", "hold")
    assert not is_open("processing", "")
    assert not is_open("retrying", "hold")


def test_why_held_order_tells_since_when_and_by_whom() -> None:
    told = withdrawn("held", "10:04", "ops@desk-3", "address?")
    assert told == 'held since 10:04 by ops@desk-3, "address?"'
    assert withdrawn("cancelled", "10:04", None, None) == "cancelled at 10:04"


def test_why_wish_tells_when_it_takes_effect() -> None:
    assert wished("retrying", "hold", "ops", "address?") == (
        'it is to be held by ops, "address?", when its turn comes'
    )
    assert wished("processing", "cancel", "ops", None).endswith("unless the attempt succeeds first")
    assert wished("unknown", "cancel", "ops", None).endswith("when it arrives")
    assert wished("retrying", None, None, None) == ""
