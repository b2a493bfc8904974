"""Idle workers are woken by what no new order tells of: an operator's deed, orders given back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.exchange import Exchange
from fulfillment_worker.core.outcome import Dead, DeadReason, Requeued, Withdrawn
from fulfillment_worker.queue import keys
from fulfillment_worker.queue.redis_queue import QueuePolicy, RedisQueue
from fulfillment_worker.queue.shared_client import SharedConnections
from tests.support.eventually import PATIENCE, aeventually
from tests.support.redis_server import RedisServer

POLICY = QueuePolicy(lease=10_000, status_ttl=60_000, max_orphanings=3, id_field="order_id")


class Idle:
    """A worker that waits for an order. woken: set when it is told to look."""

    def __init__(self, url: str, shared: SharedConnections | None = None) -> None:
        self.queue = RedisQueue("orders", RedisUrl.parse(url), POLICY, lambda _: None, shared)
        self.woken = asyncio.Event()
        self.queue.on_wake(self.woken.set)
        self._waiting = asyncio.create_task(self.queue.wait(PATIENCE))

    async def until_woken(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.woken.wait()
        assert not self._waiting.done(), "it still waits for an order"
        self.woken.clear()

    async def close(self) -> None:
        self._waiting.cancel()
        await asyncio.wait({self._waiting})
        await self.queue.close()


async def listening(server: RedisServer) -> None:
    """Return when somebody listens."""
    with server.client() as client:
        await aeventually(
            lambda: client.pubsub_numsub(keys.wake("orders"))[0][1] == 1, what="somebody listens"
        )


@pytest.fixture(params=["two connections", "shared ones"])
async def idle(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Idle]:
    url = RedisUrl.parse(redis_server.url)
    shared = SharedConnections(url, lambda _: None) if request.param == "shared ones" else None
    made = Idle(redis_server.url, shared)
    await listening(redis_server)
    yield made
    await made.close()


@pytest.fixture
async def busy(redis_server: RedisServer) -> AsyncIterator[RedisQueue]:
    """Of a worker that holds the order A."""
    queue = RedisQueue("orders", RedisUrl.parse(redis_server.url), POLICY, lambda _: None)
    with redis_server.client() as client:
        client.rpush(keys.woken("orders"), b'{"order_id": "A"}')
    assert len((await queue.exchange(Exchange(worker="busy", claim=1))).claimed) == 1
    yield queue
    await queue.close()


@pytest.fixture
async def operator(redis_server: RedisServer) -> AsyncIterator[Operator]:
    client = Redis.from_url(redis_server.url)
    yield Operator(client, "orders", RedisUrl.parse(redis_server.url))
    await client.aclose()


async def test_retry_of_a_dead_letter_wakes_idle_workers(
    idle: Idle, busy: RedisQueue, operator: Operator
) -> None:
    dead = Dead(1, "A", 1, "no", DeadReason.REJECTED)
    await busy.exchange(Exchange(worker="busy", number=2, holding=1, outcomes=[dead]))
    assert not idle.woken.is_set()
    await operator.retry_dead([1], lambda _: None)
    await idle.until_woken()


async def test_release_of_a_held_order_wakes_idle_workers(
    idle: Idle, busy: RedisQueue, operator: Operator
) -> None:
    assert (await operator.hold("A")).worker == "busy"
    withdrawn = Withdrawn(1, "A", 1)
    reply = await busy.exchange(Exchange(worker="busy", number=2, holding=1, outcomes=[withdrawn]))
    assert reply.obeyed
    assert not idle.woken.is_set()
    assert (await operator.release("A")).many == 1
    await idle.until_woken()


async def test_resume_wakes_idle_workers(idle: Idle, operator: Operator) -> None:
    await operator.pause()
    assert not idle.woken.is_set()
    await operator.resume()
    await idle.until_woken()


async def test_release_of_a_dead_process_wakes_idle_workers(idle: Idle, busy: RedisQueue) -> None:
    assert (await busy.release("busy")).recovered == 1
    await idle.until_woken()


async def test_order_given_back_by_a_worker_that_drains_wakes_idle_workers(
    idle: Idle, busy: RedisQueue
) -> None:
    outcomes = [Requeued(1, "A", 1)]
    reply = await busy.exchange(
        Exchange(worker="busy", number=2, holding=1, outcomes=list(outcomes))
    )
    assert reply.backlog
    await idle.until_woken()


async def test_orders_that_nobody_has_room_for_wake_nobody_over_and_over(
    idle: Idle, busy: RedisQueue
) -> None:
    outcomes = [Requeued(1, "A", 1)]
    woken: list[float] = []
    idle.queue.on_wake(lambda: woken.append(time.monotonic()))
    began = time.monotonic()
    await busy.exchange(Exchange(worker="busy", number=2, holding=1, outcomes=list(outcomes)))
    for number in range(3, 40):
        await busy.exchange(Exchange(worker="busy", number=number))
    await aeventually(lambda: bool(woken), what="it is woken")
    assert len(woken) <= 1 + (time.monotonic() - began) / 0.25


async def test_worker_that_may_not_subscribe_still_waits_for_orders(
    redis_server: RedisServer,
) -> None:
    with redis_server.client() as client:
        rights = ("on", ">pw", "~*", "resetchannels", "+@all", "-subscribe", "-publish")
        client.execute_command("ACL", "SETUSER", "shop", *rights)
        deaf = Idle(f"redis://shop:pw@127.0.0.1:{redis_server.port}/0")
        operator = Operator(
            Redis.from_url(f"redis://shop:pw@127.0.0.1:{redis_server.port}/0"),
            "orders",
            RedisUrl.parse(redis_server.url),
        )
        await operator.resume()
        client.lpush("orders", b'{"order_id": "A"}')
        async with asyncio.timeout(PATIENCE):
            assert (await deaf._waiting).came
        await operator._client.aclose()
        await deaf.close()
        client.execute_command("ACL", "DELUSER", "shop")
