"""What the scripts read of large orders, by the commands that they give."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.exchange import Exchange
from fulfillment_worker.core.outcome import Requeued, Retried
from fulfillment_worker.queue import keys
from fulfillment_worker.queue.redis_queue import QueuePolicy, RedisQueue
from tests.conformance.test_bytes import THIRD, sized
from tests.support.redis_server import RedisServer

POLICY = QueuePolicy(lease=10_000, status_ttl=60_000, max_orphanings=3, id_field="order_id")


class Bench:
    def __init__(self, server: RedisServer) -> None:
        server.flush()
        self.server = server
        self.client: Any = redis.Redis.from_url(server.url)
        self.queue = RedisQueue("orders", RedisUrl.parse(server.url), POLICY, lambda _: None)

    @contextmanager
    def commands(self) -> Iterator[list[list[str]]]:
        """What Redis does meanwhile, each command with its arguments."""
        seen: list[list[str]] = []
        watcher: Any = redis.Redis.from_url(self.server.url)
        with watcher.monitor() as monitor:
            yield seen
            self.client.echo("the end")
            for told in monitor.listen():
                if told["command"] == "ECHO the end":
                    break
                seen.append(told["command"].split(" "))
        watcher.close()


@pytest.fixture
async def bench(redis_servers: Callable[[str], RedisServer]) -> AsyncIterator[Bench]:
    bench = Bench(redis_servers("redis-7"))
    yield bench
    await bench.queue.close()
    bench.client.close()


def read_from_list(commands: list[list[str]]) -> int:
    """How many orders of lists the commands asked for."""
    ranges = [command[2:] for command in commands if command[:2] == ["LRANGE", "orders"]]
    return sum(int(last) - int(first) + 1 for first, last in ranges)


def read_when_due(commands: list[list[str]]) -> int:
    due = [command for command in commands if command[:2] == ["ZRANGEBYSCORE", "{orders}:retry"]]
    return sum(int(command[-1]) for command in due)


async def exchange(bench: Bench, number: int, **said: Any) -> Any:
    # The monitor is read when it is over, in this same thread.
    return await bench.queue.exchange(Exchange(worker="w", number=number, **said))


async def test_claim_reads_each_large_order_once(bench: Bench) -> None:
    for n in range(20):
        bench.client.lpush("orders", sized(n, THIRD))
    with bench.commands() as commands:
        reply = await exchange(bench, 1, claim=50)
    assert len(reply.claimed) == read_from_list(commands) == 3


async def test_claim_of_small_orders_takes_few_commands(bench: Bench) -> None:
    for n in range(100):
        bench.client.lpush("orders", sized(n, 100))
    with bench.commands() as commands:
        reply = await exchange(bench, 1, claim=50)
    assert len(reply.claimed) == read_from_list(commands) == 50
    of_list = [command[0] for command in commands if command[1:2] == ["orders"]]
    assert of_list.count("LRANGE") <= 8
    assert of_list.count("LTRIM") == 1


async def test_claim_of_due_retries_reads_each_large_order_once(bench: Bench) -> None:
    for n in range(3):
        bench.client.lpush("orders", sized(n, THIRD))
    await exchange(bench, 1, claim=50)
    back = [Requeued(delivery, "", 1) for delivery in (1, 2, 3)]
    await exchange(bench, 2, holding=3, outcomes=back)
    with bench.commands() as commands:
        reply = await exchange(bench, 3, claim=1, first_delivery=4)
    assert len(reply.claimed) == read_when_due(commands) == 1


async def test_survey_reads_a_large_head_once(bench: Bench) -> None:
    """Workers of a paused queue ask once a second how it stands."""
    bench.client.lpush("orders", sized(1, THIRD))
    bench.client.hset(keys.books("orders"), "paused", 1)
    with bench.commands() as commands:
        for number in (1, 2, 3):
            assert (await exchange(bench, number, claim=1, survey=True)).survey.waiting == 1
    assert [command[:2] for command in commands].count(["LINDEX", "orders"]) == 1


async def test_survey_believes_the_time_of_a_large_head(bench: Bench) -> None:
    head = b'{"enqueued_at": 1700000000, ' + sized(1, THIRD)[1:]
    bench.client.lpush("orders", head)
    for number in (1, 2):
        survey = (await exchange(bench, number, survey=True)).survey
        assert survey.oldest == 1_700_000_000_000


async def test_large_retry_that_is_not_due_is_read_once(bench: Bench) -> None:
    bench.client.lpush("orders", sized(1, THIRD))
    await exchange(bench, 1, claim=1)
    await exchange(bench, 2, holding=1, outcomes=[Retried(1, "1", 1, "down", 60_000)])
    due = (await exchange(bench, 3)).next_due
    with bench.commands() as commands:
        for number in (4, 5, 6):
            assert (await exchange(bench, number)).next_due == due
    assert ["ZRANGE", "{orders}:retry"] not in [command[:2] for command in commands]


async def test_next_retry_is_found_though_a_large_one_was_noted(bench: Bench) -> None:
    for n, size in ((1, THIRD), (2, 100)):
        bench.client.lpush("orders", sized(n, size))
    await exchange(bench, 1, claim=2)
    await exchange(bench, 2, holding=2, outcomes=[Retried(1, "1", 1, "down", 60_000)])
    later = (await exchange(bench, 3, holding=1)).next_due
    await exchange(bench, 4, holding=1, outcomes=[Retried(2, "2", 1, "down", 30_000)])
    assert (await exchange(bench, 5)).next_due < later
    bench.client.delete(keys.retry("orders"))
    assert (await exchange(bench, 6)).next_due is None
