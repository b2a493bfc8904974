"""What the gauges of depth and age say: of producers that send no time, and while Redis is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.orders import bodies, place, wait_until_all
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]
NewRedis = Callable[..., RedisServer]

OLDEST = "fulfillment_queue_oldest_order_timestamp_seconds"
SAMPLED = "fulfillment_queue_sample_timestamp_seconds"
WAITS = "import asyncio\n\nasync def fulfil(order):\n    await asyncio.sleep(60)\n"


def test_a_paused_queue_ages_and_all_workers_say_the_same(
    redis_7: RedisServer, run_worker: Start
) -> None:
    with redis_7.client() as client:
        client.hset("{orders}:books", "paused", 1)
    workers = [run_worker(redis_7.url) for _ in range(2)]
    for worker in workers:
        worker.wait_until_ready()
    placed = time.time()
    orders = bodies(3)
    place(redis_7, orders)
    for worker in workers:
        eventually(partial(_waiting, worker, 3), what="3 wait")
    first = workers[0].scrape()[OLDEST]
    # A producer's order is seen by the next survey: once a second while the queue is paused.
    assert placed - 0.1 <= first <= time.time()
    assert workers[1].scrape()[OLDEST] == same(first)
    eventually(lambda: workers[0].scrape()[SAMPLED] > first + 5, what="more surveys")
    assert [worker.scrape()[OLDEST] for worker in workers] == [same(first)] * 2
    with redis_7.client() as client:
        client.hdel("{orders}:books", "paused")
    wait_until_all(redis_7, orders)
    # None waits any more, so nothing is old: the gauge says now.
    eventually(lambda: workers[0].scrape()[OLDEST] >= time.time() - 0.5, what="nothing is old")


def test_while_redis_is_away_the_sample_stands_still_and_the_age_goes_on(
    new_redis: NewRedis, run_worker: Start
) -> None:
    server = new_redis("redis-7", "--appendfsync", "always", persistent=True)
    place(server, bodies(6))
    worker = run_worker(server.url, WAITS, "--concurrency", "2", "--lease", "60s")
    eventually(lambda: worker.scrape()["fulfillment_queue_depth"] == 4, what="4 wait")
    server.kill()
    eventually(lambda: worker.get("/readyz")[0] == 503, what="it is noticed")
    before = worker.scrape()
    failed = _failed(worker)
    eventually(lambda: _failed(worker) >= failed + 3, what="three more attempts")
    away = worker.scrape()
    assert away[SAMPLED] == before[SAMPLED]
    assert away[SAMPLED] < time.time() - 1
    assert away[OLDEST] == before[OLDEST]  # so time() - it grows
    assert away["fulfillment_queue_depth"] == 4
    assert away["orders_unaccounted"] == 0
    server.start()
    eventually(lambda: worker.scrape()[SAMPLED] > before[SAMPLED] + 1, what="a sample of today")
    assert worker.scrape()[OLDEST] == same(before[OLDEST])
    worker.kill()


def same(moment: float) -> Any:
    """The moment: each survey tells it by the host's clock, as exactly as a reply takes to come."""
    return pytest.approx(moment, abs=3)


def _waiting(worker: RunningWorker, many: int) -> bool:
    return worker.scrape()["fulfillment_queue_depth"] == many


def _failed(worker: RunningWorker) -> float:
    page = worker.scrape()
    commands = "fulfillment_redis_commands_total"
    operations = ("exchange", "holdings")
    return sum(page.get_sample(commands, operation=o, outcome="error") for o in operations)


def test_before_redis_was_ever_asked_the_sample_says_never(run_worker: Start) -> None:
    worker = run_worker("redis://127.0.0.1:1/0")
    worker.wait_for("redis_lost")
    before = time.time()
    page = worker.scrape()
    assert page[SAMPLED] == 0
    assert page[OLDEST] >= before - 1
