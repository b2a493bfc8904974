"""How much a worker asks for, by what became of its last exchanges."""

from __future__ import annotations

from fulfillment_worker.core.exchange import LARGE, MOST_BYTES
from fulfillment_worker.core.fetch_size import FetchSize

QUICK, SLOW = 0.01, 3.0


def test_fetch_size_is_a_whole_exchange_at_first() -> None:
    assert FetchSize().most_bytes == MOST_BYTES


def test_fetch_size_after_a_lost_reply_is_one_order() -> None:
    size = FetchSize()
    size.lost()
    assert size.most_bytes == 1


def test_fetch_size_grows_again_while_exchanges_are_quick() -> None:
    size = FetchSize()
    size.lost()
    asked = []
    for _ in range(6):
        size.arrived(QUICK)
        asked.append(size.most_bytes)
    assert asked == [LARGE, 2 * LARGE, 4 * LARGE, MOST_BYTES, MOST_BYTES, MOST_BYTES]


def test_fetch_size_shrinks_while_exchanges_are_slow_and_still_takes_many_small_orders() -> None:
    size = FetchSize()
    for _ in range(20):
        size.arrived(SLOW)
    assert size.most_bytes == LARGE
    size.lost()
    size.arrived(SLOW)
    assert size.most_bytes == 1


def test_delay_of_what_was_lost_begins_with_the_second_loss_in_a_row_and_doubles() -> None:
    size = FetchSize()
    delays = []
    for _ in range(5):
        size.lost()
        delays.append(size.delay_ms(longest=1500))
    assert delays == [0, 500, 1000, 1500, 1500]
    size.arrived(SLOW)
    size.lost()
    assert size.delay_ms(longest=1500) == 0
