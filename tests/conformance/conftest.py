"""One queue, three ways: in memory, on Valkey 9 and on Redis 7."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import pytest
import redis

from fulfillment_worker.admin.inspector import Inspector
from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.admin.redis_client import connected, open_client
from fulfillment_worker.admin.rules.wishes import Act
from fulfillment_worker.admin.withdrawals import Withdrawals
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.exchange import Queue
from fulfillment_worker.core.limits import changed
from fulfillment_worker.core.outcome import Withdrawal
from fulfillment_worker.queue import keys
from fulfillment_worker.queue.redis_queue import QueuePolicy, RedisQueue
from tests.support.memory_limits import FleetLimits
from tests.support.memory_queue import MemoryQueue, Store
from tests.support.redis_server import VERSIONS, RedisServer

LEASE_MS = 600_000
"""Longer than any test takes on any machine."""
MAX_ORDER_BYTES = 1024 * 1024
MAX_ORPHANINGS = 3


class Bench(Protocol):
    """What a test needs beside the queue itself: a producer, a clock, and a look inside."""

    def queue(
        self,
        max_orphanings: int = MAX_ORPHANINGS,
        id_field: str = "order_id",
        max_age: int = 0,
    ) -> Queue: ...
    def push(self, *raws: bytes) -> None: ...
    def status(self, order_id: str) -> str | None: ...
    def note(self, order_id: str) -> str | None: ...
    def leave_begun(self, order_id: str) -> None: ...
    def dead(self) -> list[tuple[str, bytes]]: ...
    def known_ids(self) -> list[str]: ...
    def lose_leases(self) -> None: ...
    def step_clock(self, ms: int) -> None: ...
    def delay_last_exchange(self, queue: Queue, ms: int) -> None: ...
    def pause(self) -> None: ...
    async def hold(self, order_id: str) -> None: ...
    async def cancel(self, order_id: str) -> None: ...
    async def let_go(self, order_id: str) -> None: ...
    async def limit(self, **changes: Any) -> None: ...
    def left_of_limits(self) -> list[str]: ...
    def lose_flight(self, worker: str) -> None: ...
    async def pass_time(self, ms: int) -> None: ...
    async def close(self) -> None: ...


class MemoryBench:
    def __init__(self) -> None:
        self.store = Store(
            lease=LEASE_MS, max_orphanings=MAX_ORPHANINGS, max_order_bytes=MAX_ORDER_BYTES
        )

    def queue(
        self, max_orphanings: int = MAX_ORPHANINGS, id_field: str = "order_id", max_age: int = 0
    ) -> Queue:
        self.store.max_orphanings, self.store.max_age = max_orphanings, max_age
        return MemoryQueue(self.store)

    def push(self, *raws: bytes) -> None:
        for raw in raws:
            self.store.push(raw)

    def status(self, order_id: str) -> str | None:
        status = self.store.orders.get(order_id, {}).get("status")
        return None if status is None else str(status)

    def note(self, order_id: str) -> str | None:
        note = self.store.orders.get(order_id, {}).get("note")
        return None if note is None else str(note)

    def leave_begun(self, order_id: str) -> None:
        self.store.orders[order_id] = {"status": "processing", "worker": "gone", "delivery": 1}

    def dead(self) -> list[tuple[str, bytes]]:
        return list(self.store.dead)

    def lose_leases(self) -> None:
        self.store.leases.clear()

    def step_clock(self, ms: int) -> None:
        self.store.step_clock(ms)

    def delay_last_exchange(self, queue: Queue, ms: int) -> None:
        """It knows what time has passed, however long exchanges take."""

    def known_ids(self) -> list[str]:
        store = self.store
        entries = [entry for held in store.in_flight.values() for entry in held.values()]
        entries += [entry for _, entry in store.retry.values()] + [*store.suspects]
        entries += [entry for _, entry in store.scheduled.values()] + [*store.held.values()]
        return [entry.order_id for entry in entries if entry.order_id]

    def pause(self) -> None:
        self.store.paused = True

    async def hold(self, order_id: str) -> None:
        self.store.wish(order_id, Withdrawal.HELD)

    async def cancel(self, order_id: str) -> None:
        self.store.wish(order_id, Withdrawal.CANCELLED)

    async def let_go(self, order_id: str) -> None:
        self.store.let_go(order_id)
        self.store.wake()

    async def limit(self, **changes: Any) -> None:
        self.store.limits = changed(self.store.limits, changes)
        FleetLimits(self.store, {})

    def left_of_limits(self) -> list[str]:
        return [key for key, _ in self.store.parked.values()]

    def lose_flight(self, worker: str) -> None:
        self.store.in_flight.pop(worker, None)

    async def pass_time(self, ms: int) -> None:
        self.store.pass_time(ms)

    async def close(self) -> None:
        pass


class RedisBench:
    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.client: Any = redis.Redis.from_url(server.url)
        self.queues: list[RedisQueue] = []

    def queue(
        self, max_orphanings: int = MAX_ORPHANINGS, id_field: str = "order_id", max_age: int = 0
    ) -> Queue:
        policy = QueuePolicy(
            lease=LEASE_MS,
            status_ttl=60_000,
            max_orphanings=max_orphanings,
            id_field=id_field,
            max_order_bytes=MAX_ORDER_BYTES,
            max_age=max_age,
        )
        url = RedisUrl.parse(self.server.url)
        self.queues.append(RedisQueue("orders", url, policy, lambda _: None))
        return self.queues[-1]

    def push(self, *raws: bytes) -> None:
        self.client.lpush("orders", *raws)

    def status(self, order_id: str) -> str | None:
        status = self.client.hget(keys.order("orders", order_id), "status")
        return None if status is None else str(status.decode())

    def note(self, order_id: str) -> str | None:
        note = self.client.hget(keys.order("orders", order_id), "note")
        return None if note is None else str(note.decode())

    def leave_begun(self, order_id: str) -> None:
        """As a worker left it that gave the order back and didn't know that it had begun."""
        said = {"status": "processing", "attempt": 1, "worker": "gone", "delivery": 1}
        self.client.hset(keys.order("orders", order_id), mapping=said)

    def dead(self) -> list[tuple[str, bytes]]:
        letters = self.client.hgetall(keys.dead("orders")).items()
        parts = [(int(n), *letter.split(b"\n", 1)) for n, letter in letters]
        return [(json.loads(header)["reason"], raw) for _, header, raw in sorted(parts)]

    def lose_leases(self) -> None:
        self.client.delete(keys.leases("orders"))

    def step_clock(self, ms: int) -> None:
        """The server's clock can't be set: instead, all that was seen of it is set back."""
        timed = (keys.leases, keys.retry, keys.scheduled, keys.workers)
        for key in [each("orders") for each in timed]:
            for member, at in self.client.zrange(key, 0, -1, withscores=True):
                self.client.zadd(key, {member: at - ms})
        self._set_back("clock", ms)
        for queue in [queue for queue in self.queues if queue._heard.steady]:
            queue._heard = queue._heard._replace(steady=queue._heard.steady - ms)

    def delay_last_exchange(self, queue: Queue, ms: int) -> None:
        """As if it had been sent so much sooner than Redis took it up."""
        assert isinstance(queue, RedisQueue)
        queue._heard = queue._heard._replace(sent_at=queue._heard.sent_at - ms / 1000)

    def known_ids(self) -> list[str]:
        return [value.decode() for value in self.client.hvals(keys.ids("orders"))]

    def pause(self) -> None:
        self.client.hset(keys.books("orders"), "paused", 1)

    async def hold(self, order_id: str) -> None:
        await self._act(Act.HOLD, order_id)

    async def cancel(self, order_id: str) -> None:
        await self._act(Act.CANCEL, order_id)

    async def let_go(self, order_id: str) -> None:
        await self._act(Act.RELEASE, order_id)

    async def _act(self, act: Act, order_id: str) -> None:
        url = RedisUrl.parse(self.server.url)
        async with connected(url) as client:
            operator = Operator(client, "orders", url)
            withdrawals = Withdrawals(operator, Inspector(client, "orders", url), 60)
            await withdrawals.act(act, [order_id], 0)

    async def limit(self, **changes: Any) -> None:
        url = RedisUrl.parse(self.server.url)
        client = open_client(url)
        await Operator(client, "orders", url, by="tests").set_limits(changes, "a test")
        await client.aclose()

    async def pass_time(self, ms: int) -> None:
        """It goes by for the workers as well: what each has heard is older."""
        self.step_clock(ms)
        self._set_back("next_due", ms)
        self._set_back("looked", ms)
        self._set_limits_back(ms)
        for queue in self.queues:
            heard = queue._heard
            queue._heard = heard._replace(
                at=heard.at - ms / 1000,
                sent_at=heard.sent_at - ms / 1000,
                first_at=heard.first_at - ms / 1000 if heard.first_at else 0.0,
            )

    def left_of_limits(self) -> list[str]:
        parts = (keys.parked, keys.parked_keys, keys.key_holders, keys.held_keys)
        names = [part("orders") for part in (*parts, keys.key_rates, keys.key_turns)]
        fields = ("limits", "limit_rate", "swept")
        kept = self.client.hmget(keys.books("orders"), fields)
        return [name for name in names if self.client.exists(name)] + [
            field for field, value in zip(fields, kept, strict=True) if value is not None
        ]

    def lose_flight(self, worker: str) -> None:
        self.client.delete(keys.in_flight("orders", worker))

    def _set_limits_back(self, ms: int) -> None:
        books = keys.books("orders")
        if started := self.client.hget(books, "limit_rate"):
            reached, window, *counts = started.split()
            times = b"%.3f" % (float(reached) - ms), b"%d" % (int(window) - ms)
            self.client.hset(books, "limit_rate", b" ".join((*times, *counts)))
        for key in (keys.key_rates("orders"), keys.key_turns("orders")):
            for member, at in self.client.zrange(key, 0, -1, withscores=True):
                self.client.zadd(key, {member: at - ms})

    def _set_back(self, field: str, ms: int) -> None:
        if self.client.hexists(keys.books("orders"), field):
            self.client.hincrby(keys.books("orders"), field, -ms)

    async def close(self) -> None:
        for queue in self.queues:
            await queue.close()
        self.client.close()


@pytest.fixture(params=["memory", *VERSIONS])
async def bench(
    request: pytest.FixtureRequest, redis_servers: Callable[[str], RedisServer]
) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield MemoryBench()
        return
    server = redis_servers(request.param)
    server.flush()
    redis_bench = RedisBench(server)
    yield redis_bench
    await redis_bench.close()


@pytest.fixture
def queue(bench: Bench) -> Queue:
    return bench.queue()
