"""A retry of dead letters that goes step by step."""

from __future__ import annotations

import pytest

from fulfillment_worker.admin.rules.pacing import (
    Course,
    Pace,
    firsts,
    name_of,
    parted,
    progress_of,
    seconds_for,
)
from fulfillment_worker.core.limits import Rate
from tests.unit.admin.test_causes import letter


def test_retry_has_the_name_of_its_selection() -> None:
    assert name_of(["A", "B"], None) == name_of(["B", "A", "B"], None)
    others = [name_of([], None), name_of(["A"], None), name_of([], "invalid"), name_of(["B"], None)]
    assert len(set(others)) == len(others)


def test_retry_leaves_alone_what_died_since_it_began() -> None:
    letters = [letter(number) for number in (3, 7, 8)]
    part, newer = parted(letters, Course(up_to=7))
    assert ([each.number for each in part], newer) == ([3, 7], 1)


def test_first_letters_have_orders_that_tell_something() -> None:
    letters = [
        letter(1, order_id=""),
        letter(2, order_id="done"),
        letter(3, order_id="A"),
        letter(4, order_id="A"),
        letter(5, order_id="B"),
        letter(6, order_id="C"),
    ]
    assert [each.number for each in firsts(letters, {"done"}, 2)] == [3, 5]
    assert firsts(letters[:2], {"done"}, 1) == []


@pytest.mark.parametrize("status", ["waiting", "retrying", "processing"])
def test_progress_of_an_order_that_has_not_ended_is_awaited(status: str) -> None:
    told = progress_of(status, "an earlier error", "")
    assert (told.fulfilled, told.ended) == (False, "")


@pytest.mark.parametrize(
    ("status", "ended", "final"),
    [
        ("dead", "is dead again: odd", True),
        ("cancelled", "was cancelled", True),
        ("", "has no status any more", True),
        ("postponed", "was postponed: out of stock", False),
        ("scheduled", "waits for a time of its own", False),
        ("held", "is held", False),
    ],
)
def test_progress_of_an_order_that_is_not_fulfilled_stops_the_rest(
    status: str, ended: str, final: bool
) -> None:
    told = progress_of(status, "odd", "out of stock")
    assert (told.fulfilled, told.ended, told.final) == (False, ended, final)


def test_progress_of_a_fulfilled_order_lets_the_rest_follow() -> None:
    assert progress_of("fulfilled", "", "").fulfilled


@pytest.mark.parametrize("text", ["3/s", "10/s", "500/s", "90/m", "500/h", "100000/s"])
def test_pace_is_never_exceeded_and_is_reached(text: str) -> None:
    rate = Rate.parse(text)
    pace, now, gone = Pace(rate), 1000.0, list[float]()
    while len(gone) < 300:
        gone += [now] * pace.take(now, 7)
        now += max(pace.wait(now), 0.001)
    per_second = 1000 / rate.interval
    for start in range(0, 300, 7):
        for end in range(start, 300, 11):
            seconds = gone[end] - gone[start]
            assert end - start + 1 <= per_second * seconds + rate.usual_burst + 1e-3
    assert gone[-1] - gone[0] <= 300 / min(per_second, 7 / 0.001) + 1


def test_pace_tells_how_long_it_takes() -> None:
    assert seconds_for(602, Rate.parse("10/s")) == 60
    assert seconds_for(0, Rate.parse("10/s")) == 0
