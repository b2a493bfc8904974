"""How much a worker asks for, by what became of its last trips."""

from __future__ import annotations

from fulfillment_worker.core.appetite import Appetite
from fulfillment_worker.core.exchange import LARGE, MOST_BYTES

QUICK, SLOW = 0.01, 3.0


def test_appetite_is_a_whole_trip_at_first() -> None:
    assert Appetite().most_bytes == MOST_BYTES


def test_appetite_after_a_lost_reply_is_one_order() -> None:
    appetite = Appetite()
    appetite.lost()
    assert appetite.most_bytes == 1


def test_appetite_grows_again_while_trips_are_quick() -> None:
    appetite = Appetite()
    appetite.lost()
    asked = []
    for _ in range(6):
        appetite.arrived(QUICK)
        asked.append(appetite.most_bytes)
    assert asked == [LARGE, 2 * LARGE, 4 * LARGE, MOST_BYTES, MOST_BYTES, MOST_BYTES]


def test_appetite_shrinks_while_trips_are_slow_and_still_takes_small_orders_by_the_dozen() -> None:
    appetite = Appetite()
    for _ in range(20):
        appetite.arrived(SLOW)
    assert appetite.most_bytes == LARGE
    appetite.lost()
    appetite.arrived(SLOW)
    assert appetite.most_bytes == 1


def test_delay_of_what_was_lost_begins_with_the_second_loss_in_a_row_and_doubles() -> None:
    appetite = Appetite()
    delays = []
    for _ in range(5):
        appetite.lost()
        delays.append(appetite.delay_ms(longest=1500))
    assert delays == [0, 500, 1000, 1500, 1500]
    appetite.arrived(SLOW)
    appetite.lost()
    assert appetite.delay_ms(longest=1500) == 0
