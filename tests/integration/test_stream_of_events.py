"""The stream of events: each entry tells all of a change, and is kept for its time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.support.clock import Clock
from tests.support.eventually import eventually
from tests.support.orders import place, stream, wait_until_all
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]

EVENTS = "{orders}:events"
NODE = 100
"""Entries that are trimmed at once, or not at all."""
HANDLER = """
from fulfillment_worker import Reject

async def fulfil(order):
    if order.body.get("rejected"):
        raise Reject("no such SKU")
"""


def redis_ms(server: RedisServer) -> int:
    with server.client() as client:
        seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def handle(server: RedisServer, *ids: str) -> None:
    """Wait until these orders have been fulfilled, which makes two events of each."""
    orders = [{"order_id": order_id} for order_id in ids]
    place(server, orders)
    wait_until_all(server, orders)


def many_of(server: RedisServer, prefix: str) -> int:
    return sum(entry["order_id"].startswith(prefix) for entry in stream(server))


def test_event_of_a_dead_letter_has_its_reason(
    redis_server: RedisServer, run_worker: Start
) -> None:
    place(redis_server, [{"order_id": "R", "rejected": True}, {"order_id": "F"}])
    with redis_server.client() as client:
        client.lpush("orders", "rubbish")
    run_worker(redis_server.url, HANDLER)
    eventually(lambda: len(stream(redis_server)) == 5, what="all events")
    told = {entry["order_id"]: entry for entry in stream(redis_server)}
    assert told["R"].keys() == {"order_id", "status", "attempt", "at", "reason"}
    assert (told["R"]["status"], told["R"]["reason"]) == ("dead", "rejected")
    assert (told[""]["status"], told[""]["reason"]) == ("dead", "invalid")
    assert told["F"].keys() == {"order_id", "status", "attempt", "at"}


def test_events_are_trimmed_by_their_time(redis_server: RedisServer, run_worker: Start) -> None:
    run_worker(redis_server.url, HANDLER, "--events-ttl", "2s")
    handle(redis_server, *(f"old-{number}" for number in range(500)))
    ended = redis_ms(redis_server)
    eventually(lambda: redis_ms(redis_server) > ended + 2000, what="their time is over")
    handle(redis_server, "new")
    assert many_of(redis_server, "old") < NODE
    assert many_of(redis_server, "new") == 2


@pytest.mark.parametrize("order", ['{"order_id": "A"}', "rubbish"], ids=["order", "rubbish"])
def test_events_are_kept_for_a_day(
    redis_server: RedisServer, run_worker: Start, order: str
) -> None:
    now, hour = redis_ms(redis_server), 3_600_000
    with redis_server.client() as client:
        for hours in (25, 23):
            for number in range(300):
                entry = {"order_id": f"{hours}-{number}", "status": "fulfilled", "attempt": 1}
                client.xadd(EVENTS, {**entry, "at": 0}, id=f"{now - hours * hour}-{number}")
        client.lpush("orders", order)
    run_worker(redis_server.url, HANDLER)
    eventually(lambda: many_of(redis_server, "25-") < NODE, what="those of yesterday are trimmed")
    assert many_of(redis_server, "23-") == 300


# --- a clock that is stepped --------------------------------------------------------------------

DAY = 86_400


def step(server: RedisServer, clock: Clock, seconds: int) -> None:
    """Step Redis's clock, and wait until a worker has seen that."""
    with server.client() as client:
        steps = int(client.hget("{orders}:books", "steps") or 0)
        clock.step(seconds)

        def seen() -> bool:
            return abs(int(client.hget("{orders}:books", "steps") or 0) - steps) > 1_000_000

        eventually(seen, what="a worker has seen the step")


def test_step_of_the_clock_for_a_moment_trims_no_event(
    clocked: RedisServer, clock: Clock, run_worker: Start
) -> None:
    run_worker(clocked.unix_url, HANDLER, "--events-ttl", "1h", "--lease", "2s")
    handle(clocked, *(f"before-{number}" for number in range(300)))
    step(clocked, clock, DAY)
    handle(clocked, "during-1")
    handle(clocked, "during-2")
    step(clocked, clock, 0)
    handle(clocked, "after-1")
    handle(clocked, "after-2")
    assert many_of(clocked, "before") == 600
    assert many_of(clocked, "during") == 4
    assert many_of(clocked, "after") == 4


@pytest.mark.parametrize(
    "offsets",
    [(0, DAY), (0, DAY, 0), (DAY, 0)],
    ids=["set ahead", "ahead for a moment", "set back"],
)
def test_events_are_trimmed_after_a_step_of_the_clock(
    clocked: RedisServer, clock: Clock, run_worker: Start, offsets: tuple[int, ...]
) -> None:
    """After a step back, the ids of new events stay ahead of the clock for a day."""
    clock.step(offsets[0])
    run_worker(clocked.unix_url, HANDLER, "--events-ttl", "2s", "--lease", "2s")
    handle(clocked, *(f"old-0-{number}" for number in range(300)))
    for turn, offset in enumerate(offsets[1:], 1):
        step(clocked, clock, offset)
        began = time.monotonic()
        handle(clocked, *(f"old-{turn}-{number}" for number in range(300)))
    youngest = f"old-{len(offsets) - 1}-"
    rounds = 0
    while many_of(clocked, "old") >= NODE:
        rounds += 1
        was = many_of(clocked, youngest)
        handle(clocked, *(f"new-{rounds}-{number}" for number in range(20)))
        assert time.monotonic() - began > 2 or was == 600, "kept for their time at least"
    assert time.monotonic() - began > 2
    assert many_of(clocked, f"new-{rounds}-") == 40
