"""How many orders are held ready: as many as will end before more can be had."""

from __future__ import annotations

import pytest

from fulfillment_worker.core.prefetch import Prefetch

MOST = 50


def after_some_exchanges(ended: int, seconds: float, took: float, exchanges: int = 2000) -> int:
    prefetch = Prefetch(MOST)
    for _ in range(exchanges):
        prefetch.note(ended, seconds, took)
    return prefetch.orders


def test_none_before_anything_ended() -> None:
    assert Prefetch(MOST).orders == 0
    assert after_some_exchanges(0, 1.0, 0.001) == 0


def test_as_many_as_end_in_six_exchanges() -> None:
    assert after_some_exchanges(5, 0.001, 0.001) == pytest.approx(30, abs=1)


def test_never_more_than_the_most() -> None:
    assert after_some_exchanges(1000, 0.001, 0.001) == MOST


def test_no_more_than_start_soon_where_exchanges_are_slow() -> None:
    assert after_some_exchanges(100, 0.2, 0.2) == pytest.approx(25, abs=1)


def test_none_for_slow_handlers() -> None:
    """50 of them, a second each: an exchange comes with every end."""
    assert after_some_exchanges(1, 0.02, 0.002) == 0


def test_none_where_slow_handlers_end_together() -> None:
    prefetch, seen = Prefetch(MOST), set()
    for _ in range(60):
        for ended, seconds in ((1, 1.0), (60, 0.002), (39, 0.002)):
            prefetch.note(ended, seconds, 0.002)
            seen.add(prefetch.orders)
    assert max(seen) <= 3


def test_when_handlers_turn_slow_it_ends_soon() -> None:
    prefetch = Prefetch(MOST)
    for _ in range(1000):
        prefetch.note(10, 0.001, 0.001)
    assert prefetch.orders > 20
    for _ in range(30):
        prefetch.note(1, 1.0, 0.001)
    assert prefetch.orders == 0


def test_when_those_held_ready_found_no_room_it_ends_at_once() -> None:
    prefetch = Prefetch(MOST)
    for _ in range(1000):
        prefetch.note(10, 0.001, 0.001)
    prefetch.stop()
    assert prefetch.orders == 0
