"""When a worker asks a queue again."""

from __future__ import annotations

from typing import Any

import pytest

from fulfillment_worker.core.cadence import next_exchange_at


def after(**said: Any) -> float:
    """Seconds from the last exchange, at 100, to the next one."""
    usual: dict[str, Any] = {
        "now": 100.0,
        "since": 100.0,
        "last": 100.0,
        "due": None,
        "lease": 10.0,
        "holds": False,
        "listens": True,
        "limited": False,
        "settled": True,
        "jitter": 0.5,
    }
    return next_exchange_at(**usual | said) - 100.0


@pytest.mark.parametrize(("lease", "seconds"), [(10.0, 1.0), (3.0, 1.0), (0.6, 0.2)])
def test_heartbeat_comes_three_times_in_a_lease_and_each_second(
    lease: float, seconds: float
) -> None:
    assert after(holds=True, lease=lease) == pytest.approx(seconds)


@pytest.mark.parametrize(("lease", "seconds"), [(10.0, 11.5), (2.0, 3.5), (60.0, 11.5)])
def test_idle_worker_looks_when_a_lease_taken_just_now_would_have_run_out(
    lease: float, seconds: float
) -> None:
    assert after(lease=lease) == pytest.approx(seconds)


def test_paused_worker_looks_each_second() -> None:
    assert after(listens=False) == pytest.approx(1.0)


def test_worker_at_a_limit_looks_when_more_may_start_and_each_second() -> None:
    at_limit = {"listens": False, "limited": True}
    assert after(**at_limit, due=100.2, jitter=0.0) == pytest.approx(0.201)
    assert after(**at_limit, due=None) == pytest.approx(1.0)
    assert after(**at_limit, holds=True, due=100.2, jitter=0.0) == pytest.approx(0.201)


def test_queue_is_surveyed_soon_after_the_last_order() -> None:
    assert after(settled=False) == pytest.approx(0.25)


def test_what_is_due_is_looked_at_then_with_jitter() -> None:
    assert after(due=102.0, jitter=0.0) == pytest.approx(2.001)
    assert after(due=102.0, jitter=1.0) == pytest.approx(2.02)
    assert after(due=90.0, jitter=0.0) == pytest.approx(0.001)
    assert after(due=200.0) == pytest.approx(11.5)


def test_worker_without_room_looks_once_at_what_is_due() -> None:
    assert after(holds=True, listens=False, due=100.4, jitter=0.0) == pytest.approx(0.401)
    assert after(holds=True, listens=False, due=100.0) == pytest.approx(1.0)


def test_paused_worker_does_not_look_at_what_is_due() -> None:
    assert after(listens=False, due=100.1) == pytest.approx(1.0)
