"""What ends by itself is replaced at once, and later and later where that doesn't help."""

from __future__ import annotations

from fulfillment_worker.supervisor.backoff import LONG_LIFE, Backoff


def test_the_first_end_is_made_up_for_at_once() -> None:
    backoff = Backoff()
    assert backoff.ended(1.0) == 0
    assert not backoff.looping


def test_ends_in_quick_succession_wait_for_twice_as_long_each_time() -> None:
    backoff = Backoff()
    assert [backoff.ended(0.1) for _ in range(9)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff.looping


def test_it_is_called_a_loop_from_the_third_end_on() -> None:
    backoff = Backoff()
    backoff.ended(0.1)
    backoff.ended(0.1)
    assert not backoff.looping
    backoff.ended(0.1)
    assert backoff.looping


def test_a_long_life_makes_it_forget() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.ended(0.1)
    assert backoff.ended(LONG_LIFE) == 0
    assert not backoff.looping
    assert backoff.ended(0.1) == 0.5


def test_it_goes_on_for_ever() -> None:
    backoff = Backoff()
    assert [backoff.ended(0.0) for _ in range(5000)][-1] == 30
