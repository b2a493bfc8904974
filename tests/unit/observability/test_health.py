"""What the probes answer, told by a clock that the tests turn; and the ticker that feeds them."""

from __future__ import annotations

import asyncio
import time

import pytest

from fulfillment_worker.observability.health import Health
from fulfillment_worker.observability.ticker import LoopTicker, lags
from tests.support.eventually import aeventually
from tests.unit.observability.support import new_metrics, value


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(stuck_after=5.0, clock=clock)


def test_a_start_is_live_but_not_ready(health: Health, clock: Clock) -> None:
    clock.now += 1000
    assert health.livez() == (True, "starting")
    assert health.readyz() == (False, "starting")


def test_a_loop_that_turns_is_live(health: Health, clock: Clock) -> None:
    health.consuming()
    health.looped(clock.now)
    clock.now += 5.0
    assert health.livez() == (True, "ok")
    assert health.readyz() == (True, "ok")


def test_a_loop_that_stands_is_neither_and_comes_back(health: Health, clock: Clock) -> None:
    health.consuming()
    health.looped(clock.now)
    clock.now += 5.1
    stuck = (False, "stuck: the event loop has not turned for 5.1 s")
    assert health.livez() == stuck
    assert health.readyz() == stuck
    health.looped(clock.now)
    assert health.livez() == (True, "ok")


def test_redis_away_is_not_ready_but_live(health: Health, clock: Clock) -> None:
    health.looped(clock.now)
    health.consuming()
    health.unready("orders", "connection refused")
    health.unready("express", "loading")
    assert health.livez() == (True, "ok")
    assert health.readyz() == (
        False,
        "queue orders: connection refused; queue express: loading",
    )
    health.ready("orders")
    assert health.readyz() == (False, "queue express: loading")
    health.ready("express")
    health.ready("express")
    assert health.readyz() == (True, "ok")


def test_the_end_of_life(health: Health, clock: Clock) -> None:
    health.looped(clock.now)
    health.draining()
    assert health.readyz() == (False, "draining")
    health.stopped()
    clock.now += 1000
    assert health.livez() == (True, "stopped")
    assert health.readyz() == (False, "stopped")
    assert health.state == "stopped"
    health.starting()
    assert health.state == "starting"


async def test_the_ticker_tells_of_each_turn_and_counts_tasks() -> None:
    health, metrics = Health(stuck_after=5.0), new_metrics()
    ticker = LoopTicker(health, metrics, interval=0.005)
    await ticker.start()
    await ticker.start()
    samples = "python_asyncio_loop_lag_seconds_count"
    await aeventually(lambda: value(metrics, samples) > 2, what="several ticks")
    await ticker.stop()
    await ticker.stop()
    seen = value(metrics, "fulfillment_worker_last_loop_timestamp_seconds")
    assert abs(seen - time.time()) < 10
    assert health.livez() == (True, "ok")
    assert value(metrics, "python_asyncio_tasks") >= 1


async def test_a_blocked_loop_shows_in_the_lag() -> None:
    metrics = new_metrics()
    ticker = LoopTicker(Health(stuck_after=5.0), metrics, interval=0.02)
    await ticker.start()
    time.sleep(0.3)  # noqa: ASYNC251 - blocking the loop is the point
    total = "python_asyncio_loop_lag_seconds_sum"
    await aeventually(lambda: value(metrics, total) > 0.25, what="the lag was seen")
    await ticker.stop()
    late = value(metrics, "python_asyncio_loop_lag_seconds_bucket", le="+Inf")
    soon = value(metrics, "python_asyncio_loop_lag_seconds_bucket", le="0.1")
    assert late - soon >= 5  # each tick that should have come, not the one that did


async def test_a_fault_does_not_end_the_ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    health, metrics = Health(stuck_after=5.0), new_metrics()
    turns: list[float] = []

    def fail(now: float) -> None:
        turns.append(now)
        raise RuntimeError("out of order")

    monkeypatch.setattr(health, "looped", fail)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    ticker = LoopTicker(health, metrics, interval=0.005)
    with pytest.raises(RuntimeError):
        await ticker.start()
    await aeventually(lambda: len(turns) > 2, what="further ticks")
    await ticker.stop()


def test_missed_ticks_are_counted_with_the_lag_that_they_would_have_had() -> None:
    assert list(lags(0.001, 0.25)) == [0.001]
    assert list(lags(1.0, 0.25)) == [1.0, 0.75, 0.5, 0.25]
    assert len(list(lags(1e9, 0.25))) == 400
