"""How many orders are held ready: as many as will end before more can be had."""

from __future__ import annotations

import pytest

from fulfillment_worker.core.ahead import Ahead

MOST = 50


def after_some_trips(ended: int, seconds: float, took: float, trips: int = 2000) -> int:
    ahead = Ahead(MOST)
    for _ in range(trips):
        ahead.note(ended, seconds, took)
    return ahead.orders


def test_none_before_anything_ended() -> None:
    assert Ahead(MOST).orders == 0
    assert after_some_trips(0, 1.0, 0.001) == 0


def test_as_many_as_end_in_six_trips() -> None:
    assert after_some_trips(5, 0.001, 0.001) == pytest.approx(30, abs=1)


def test_never_more_than_the_most() -> None:
    assert after_some_trips(1000, 0.001, 0.001) == MOST


def test_no_more_than_start_soon_where_trips_are_slow() -> None:
    assert after_some_trips(100, 0.2, 0.2) == pytest.approx(25, abs=1)


def test_none_for_slow_handlers() -> None:
    """50 of them, a second each: a trip comes with every end."""
    assert after_some_trips(1, 0.02, 0.002) == 0


def test_none_where_slow_handlers_end_together() -> None:
    ahead, seen = Ahead(MOST), set()
    for _ in range(60):
        for ended, seconds in ((1, 1.0), (60, 0.002), (39, 0.002)):
            ahead.note(ended, seconds, 0.002)
            seen.add(ahead.orders)
    assert max(seen) <= 3


def test_when_handlers_turn_slow_it_ends_soon() -> None:
    ahead = Ahead(MOST)
    for _ in range(1000):
        ahead.note(10, 0.001, 0.001)
    assert ahead.orders > 20
    for _ in range(30):
        ahead.note(1, 1.0, 0.001)
    assert ahead.orders == 0


def test_when_those_held_ready_found_no_room_it_ends_at_once() -> None:
    ahead = Ahead(MOST)
    for _ in range(1000):
        ahead.note(10, 0.001, 0.001)
    ahead.stop()
    assert ahead.orders == 0
