"""Redis's clock is stepped: nobody loses a lease, and nothing waits for longer (invariant 2)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.support.calls import NOTE, Calls, taking
from tests.support.clock import Clock
from tests.support.eventually import eventually
from tests.support.orders import bodies, books, in_flight, place, wait_until_all
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]


def has_seen(server: RedisServer, seconds: int) -> bool:
    """Whether Redis's clock is off by so much."""
    with server.client() as client:
        now, _ = client.time()
    return abs(int(now) - time.time() - seconds) < 10


def exchanges(server: RedisServer) -> dict[str, int]:
    """How many each worker has made."""
    with server.client(decode_responses=True) as client:
        counts: dict[str, str] = client.hgetall("{orders}:books")
    return {name: int(count) for name, count in counts.items() if name.startswith("trips:")}


def have_spoken(server: RedisServer, made: dict[str, int]) -> bool:
    now = exchanges(server)
    return all(now[name] >= made[name] + 2 for name in made)


@pytest.mark.parametrize("seconds", [30, -3600])
def test_step_of_redis_clock_takes_no_order_from_a_worker(
    clocked: RedisServer, clock: Clock, run_worker: Start, calls: Calls, seconds: int
) -> None:
    """Three steps in a row made dead letters of orders that were at work in living workers."""
    options = ("--lease", "3s", "--concurrency", "4", "--log-format", "json")
    workers = [run_worker(clocked.unix_url, taking(8), *options, env=calls.env) for _ in range(2)]
    for worker in workers:
        worker.wait_until_ready()
    orders = bodies(8)
    place(clocked, orders)
    eventually(lambda: calls.count() == 8, what="all have begun")
    for number in (1, 2, 3):
        clock.step(number * seconds)
        eventually(lambda number=number: has_seen(clocked, number * seconds), what="the step")  # type: ignore[misc]
        made = exchanges(clocked)
        eventually(lambda made=made: have_spoken(clocked, made), what="two exchanges of each")  # type: ignore[misc]
    wait_until_all(clocked, orders)
    assert calls.count() == 8, "no order ran twice"
    assert not [worker.events("lease_lost") for worker in workers if worker.events("lease_lost")]
    assert books(clocked).unaccounted == 0


FAILS_ONCE = (
    NOTE
    + """
async def fulfil(order):
    note(order, "start")
    if order.attempt == 1 and order.id.startswith("R"):
        raise Retry("not yet", after=6)
    if order.id.startswith("K"):
        await asyncio.sleep(60)
"""
)


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_step_of_redis_clock_delays_no_recovery_and_no_retry(
    clocked: RedisServer, clock: Clock, run_worker: Start, calls: Calls, seconds: int
) -> None:
    options = ("--lease", "3s", "--concurrency", "1")
    victim = run_worker(clocked.unix_url, FAILS_ONCE, *options, env=calls.env)
    victim.wait_until_ready()
    place(clocked, [{"order_id": "K-1"}])
    eventually(lambda: calls.count() == 1, what="it has begun")
    other = run_worker(clocked.unix_url, FAILS_ONCE, "--lease", "3s", env=calls.env)
    other.wait_until_ready()
    place(clocked, [{"order_id": "R-1"}])
    eventually(lambda: "R-1" in calls.ids(), what="it failed once")
    failed_at = next(call.at for call in calls.all() if call.order_id == "R-1")
    clock.step(seconds)
    eventually(lambda: has_seen(clocked, seconds), what="the step")
    killed_at = time.monotonic()
    victim.kill()
    eventually(lambda: calls.ids().count("K-1") == 2, what="K-1 recovered")
    eventually(lambda: calls.ids().count("R-1") == 2, what="R-1 retried")
    again = {call.order_id: call.at for call in calls.all()}
    assert again["R-1"] - failed_at > 5.5, "a handler that asks for 6 s gets them"
    assert again["K-1"] > killed_at
    assert len(in_flight(clocked)) == 1
