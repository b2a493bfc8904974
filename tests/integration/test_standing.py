"""Exchanges that stand by: what Redis reads of an order by itself is what the worker would read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.decode import Decoded, Undecodable, decode
from fulfillment_worker.core.exchange import Exchange, Reply
from fulfillment_worker.queue import keys
from fulfillment_worker.queue.redis_queue import QueuePolicy, RedisQueue
from tests.support.eventually import eventually
from tests.support.orders import dead_letters, order_hash, place, wait_until_all
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

POLICY = QueuePolicy(lease=10_000, status_ttl=60_000, max_orphanings=3, id_field="order_id")
QUICK = "async def fulfil(order): pass"


class Reader:
    """Has Redis read one order after another, as an exchange that stands by does."""

    def __init__(self, server: RedisServer) -> None:
        self._client: Any = server.client()
        self._queue = RedisQueue("orders", RedisUrl.parse(server.url), POLICY, lambda _: None)

    async def read(self, raw: bytes) -> dict[str, str] | None:
        """The hash of the order that it began, with its id; None where it left it to the worker."""
        reply = await self.ring(raw)
        assert [claimed.raw for claimed in reply.claimed] == [raw]
        order_id = reply.claimed[0].begun
        if not order_id:
            return None
        found = self._client.hgetall(keys.order("orders", order_id))
        return {"id": order_id, "now": str(reply.now)} | {
            name.decode(): value.decode() for name, value in found.items()
        }

    async def ring(self, raw: bytes, woken: bytes = b"") -> Reply:
        """An order wakes a worker; `woken` did so before, and was not claimed."""
        self._client.flushall()
        await self._queue.holdings("nobody", 1, ())  # as each worker has asked something before
        self._client.flushall()
        if woken:
            self._client.lpush(keys.woken("orders"), woken)
        self._client.lpush("orders", raw)
        await self._queue.stand_by(Exchange(worker="w", claim=1, standing=True))
        reply = (await self._queue.wait(5)).reply
        assert reply
        return reply

    async def close(self) -> None:
        await self._queue.close()
        self._client.close()


@pytest.fixture
async def reader(redis_server: RedisServer) -> AsyncIterator[Reader]:
    made = Reader(redis_server)
    yield made
    await made.close()


def as_worker(raw: bytes) -> Decoded | Undecodable:
    return decode(raw, id_field="order_id", max_bytes=1 << 20)


async def check(reader: Reader, raw: bytes) -> bool:
    """Whether Redis began it; then it is as the worker would have begun it."""
    began, read = await reader.read(raw), as_worker(raw)
    if began is None:
        return False
    if isinstance(read, Decoded):
        assert began["id"] == read.id
        unix = read.enqueued_unix
        told = int(began["now"]) if unix is None else round(unix * 1000)
        assert abs(int(began["queued_at"]) - told) <= 1
        assert (began["status"], began["attempt"]) == ("processing", "1")
    return True


TIMES = [
    1_795_516_202,
    1_795_516_202.123456,
    "2026-11-24T10:30:02Z",
    "2026-11-24T10:30:02.9996Z",
    "2000-02-28T23:59:59Z",
    "2024-03-01T00:00:00.000001Z",
    "2000-01-01T00:00:00Z",
    946_684_800,
]
OTHERS = [
    "1999-12-01T00:00:00Z",
    "1970-01-01T00:00:00Z",
    946_684_799,
    1,
    "2026-11-24T10:30:02+01:00",
    "2026-11-24 10:30:02Z",
    "2026-11-31T10:30:02Z",
    "2026-13-01T10:30:02Z",
    "0001-01-01T00:00:00Z",
    "soon",
    "",
    -5,
    0,
    1e15,
    None,
    True,
    [],
]


@pytest.mark.parametrize("field", ["enqueued_at", "created_at"])
@pytest.mark.parametrize("told", TIMES)
async def test_a_usual_time_is_read_as_the_worker_reads_it(
    reader: Reader, field: str, told: object
) -> None:
    assert await check(reader, json.dumps({"order_id": "A", field: told}).encode())


@pytest.mark.parametrize("told", OTHERS)
async def test_another_time_is_left_to_the_worker(reader: Reader, told: object) -> None:
    assert not await check(reader, json.dumps({"order_id": "A", "enqueued_at": told}).encode())


@pytest.mark.parametrize(
    "order_id", ["A-1", " ", "{x}:*", "']) --", "a" * 128, 0, 17, -3, 2**53 - 1]
)
async def test_ids_are_read_as_the_worker_reads_them(reader: Reader, order_id: object) -> None:
    assert await check(reader, json.dumps({"order_id": order_id}).encode())


@pytest.mark.parametrize("order_id", ["a" * 129, "", "é", "\n", 1.5, None, True, [], {}])
async def test_other_ids_are_left_to_the_worker(reader: Reader, order_id: object) -> None:
    assert not await check(reader, json.dumps({"order_id": order_id}).encode())


@pytest.mark.parametrize(
    "raw",
    [
        b'{"order_id": -0}',
        b'{"order_id": 9007199254740992}',
        b'{"x": {"order_id": 9007199254740992}, "order_id": 9007199254740993}',
    ],
)
async def test_numbers_that_lua_can_not_tell_apart_are_left_to_the_worker(
    reader: Reader, raw: bytes
) -> None:
    assert not await check(reader, raw)


PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
    max_leaves=8,
)


async def test_whatever_redis_begins_the_worker_would_have_begun(reader: Reader) -> None:
    loop, began = asyncio.get_running_loop(), 0

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.fixed_dictionaries(
            {"order_id": PLAIN | st.integers() | JSON},
            optional={"enqueued_at": JSON, "created_at": st.integers() | JSON, "order_id ": JSON},
        )
    )
    def hunt(body: dict[str, object]) -> None:
        nonlocal began
        raw = json.dumps(body).encode()
        began += asyncio.run_coroutine_threadsafe(check(reader, raw), loop).result(30)

    await asyncio.to_thread(hunt)
    assert began > 25


async def test_an_order_that_another_left_behind_hides_none(reader: Reader) -> None:
    """It woke a worker that died, and is older than the one that rings now: that one is left."""
    assert not (await reader.ring(b'{"order_id": "A"}')).backlog
    reply = await reader.ring(b'{"order_id": "B"}', woken=b'{"order_id": "A"}')
    assert [claimed.raw for claimed in reply.claimed] == [b'{"order_id": "A"}']
    assert reply.backlog


# --- with a worker ------------------------------------------------------------------------------


def idle(worker: RunningWorker) -> None:
    """Wait until it has nothing to do but to wait."""

    def waits() -> bool:
        page = worker.scrape()
        return page["fulfillment_in_flight_depth"] == page["fulfillment_queue_depth"] == 0

    worker.wait_until_ready()
    eventually(waits, what="the worker is idle")


def test_orders_of_an_idle_worker_take_one_exchange_and_its_end(
    redis_server: RedisServer, run_worker: Callable[..., RunningWorker]
) -> None:
    worker = run_worker(redis_server.url, QUICK)
    idle(worker)
    for number in range(20):
        orders = [{"order_id": f"A-{number}"}]
        place(redis_server, orders)
        wait_until_all(redis_server, orders)
    worker.wait_until_fulfilled(20)
    assert worker.terminate() == 0


@pytest.mark.parametrize(
    "raw",
    [
        b'{"order_id": "A", "sum": NaN}',
        b'{"order_id": "A", "x": ' + b"[" * 200 + b"]" * 200 + b"}",
    ],
    ids=["NaN", "201 levels"],
)
def test_what_only_redis_takes_for_an_order_becomes_a_dead_letter(
    redis_server: RedisServer, run_worker: Callable[..., RunningWorker], raw: bytes
) -> None:
    """Its parser knows NaN, which JSON does not, and allows 1000 levels."""
    worker = run_worker(redis_server.url, QUICK)
    idle(worker)
    with redis_server.client() as client:
        client.lpush("orders", raw)
    eventually(lambda: dead_letters(redis_server), what="a dead letter")
    (letter,) = dead_letters(redis_server)
    assert (letter.raw, letter.reason) == (raw, "invalid")
    assert order_hash(redis_server, "A")["status"] == "dead"
    assert worker.scrape()["orders_unaccounted"] == 0
    assert worker.terminate() == 0


def test_an_order_that_could_not_be_begun_is_not_forgotten(
    new_redis: Callable[..., RedisServer], run_worker: Callable[..., RunningWorker]
) -> None:
    """A script that ends midway isn't undone: this one had the order in flight, without a lease."""
    server = new_redis()
    worker = run_worker(server.url, QUICK)
    idle(worker)
    orders = [{"order_id": "A"}]
    with server.client() as client:
        client.acl_setuser("default", enabled=True, commands=["-xadd"])
        place(server, orders)
        eventually(lambda: worker.events("redis_lost"), what="the refusal is told")
        client.acl_setuser("default", enabled=True, commands=["+xadd"])
        wait_until_all(server, orders)
    assert worker.terminate() == 0
