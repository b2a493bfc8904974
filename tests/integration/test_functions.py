"""The library of functions in a real Redis: two versions, none, one loaded by an administrator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.exchange import Exchange, QueueUnavailable
from fulfillment_worker.queue import library
from fulfillment_worker.queue.library import LIBRARY, Library
from fulfillment_worker.queue.redis_queue import QueuePolicy, RedisQueue
from tests.support.orders import bodies, place, wait_until_all
from tests.support.process import run_cli
from tests.support.redis_server import RedisServer
from tests.support.worker import FULFIL_ALL, RunningWorker

Start = Callable[..., RunningWorker]
POLICY = QueuePolicy(lease=10_000, status_ttl=60_000, max_orphanings=3, id_field="order_id")
OTHER = library.assemble(lambda text: f"{text}-- another version\n")


class Workers:
    """Queues, as workers of several versions have them."""

    def __init__(self, server: RedisServer, patch: pytest.MonkeyPatch) -> None:
        self._server = server
        self._patch = patch
        self._queues: list[RedisQueue] = []
        self._numbers: dict[int, int] = {}

    def new(self, url: str = "") -> RedisQueue:
        """One that has not connected yet."""
        address = RedisUrl.parse(url or self._server.url)
        queue = RedisQueue("orders", address, POLICY, lambda _: None)
        self._queues.append(queue)
        return queue

    async def exchange(self, queue: RedisQueue, version: Library) -> None:
        """Make the next exchange of a worker of this version."""
        self._patch.setattr(library, "LIBRARY", version)
        number = self._numbers[id(queue)] = self._numbers.get(id(queue), 0) + 1
        reply = await queue.exchange(Exchange(worker=f"w{id(queue)}", number=number))
        assert not reply.stale

    async def close(self) -> None:
        for queue in self._queues:
            await queue.close()


@pytest.fixture
async def workers(redis_7: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workers]:
    made = Workers(redis_7, monkeypatch)
    yield made
    await made.close()


def loaded(server: RedisServer) -> list[str]:
    with server.client() as client:
        return sorted(library.names_in(client.function_list()))


async def test_functions_of_two_versions_serve_one_queue(
    redis_7: RedisServer, workers: Workers
) -> None:
    old, new = workers.new(), workers.new()
    for _ in range(3):
        await workers.exchange(old, OTHER)
        await workers.exchange(new, LIBRARY)
    assert loaded(redis_7) == sorted([OTHER.name, LIBRARY.name])


async def test_functions_of_a_version_that_is_used_are_not_removed(
    redis_7: RedisServer, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await workers.exchange(workers.new(), OTHER)
    await workers.exchange(workers.new(), LIBRARY)
    assert OTHER.name in loaded(redis_7)


async def test_functions_of_an_unused_version_are_removed_and_come_back_when_needed(
    redis_7: RedisServer, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fulfillment_worker.queue.client._UNUSED_FOR", -1)
    old, new = workers.new(), workers.new()
    await workers.exchange(old, OTHER)
    await workers.exchange(new, LIBRARY)
    assert loaded(redis_7) == [LIBRARY.name]
    await workers.exchange(old, OTHER)
    assert OTHER.name in loaded(redis_7)


async def test_functions_of_others_are_left_alone(
    redis_7: RedisServer, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fulfillment_worker.queue.client._UNUSED_FOR", -1)
    theirs = "#!lua name=shop\nredis.register_function('shop', function() return 1 end)"
    with redis_7.client() as client:
        client.function_load(theirs)
        await workers.exchange(workers.new(), LIBRARY)
        assert loaded(redis_7) == sorted([LIBRARY.name, "shop"])
        client.function_delete("shop")


async def test_functions_that_are_flushed_between_two_exchanges_are_loaded_again(
    redis_7: RedisServer, workers: Workers
) -> None:
    queue = workers.new()
    for _ in range(3):
        await workers.exchange(queue, LIBRARY)
        with redis_7.client() as client:
            client.function_flush("SYNC")


@pytest.fixture
def limited(redis_7: RedisServer) -> Iterator[str]:
    """The address of a user who may not load functions."""
    with redis_7.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "shop", "on", ">pw", "~*", "+@all", "-function|load"
        )
        yield f"redis://shop:pw@127.0.0.1:{redis_7.port}/0"
        client.execute_command("ACL", "DELUSER", "shop")


async def test_functions_that_may_not_be_loaded_are_named(workers: Workers, limited: str) -> None:
    with pytest.raises(QueueUnavailable, match=r"does not permit this user .*function\|load"):
        await workers.exchange(workers.new(limited), LIBRARY)
    done = run_cli("doctor", "--redis-url", limited)
    assert done.returncode == 1
    assert "+function|load" in done.stdout


async def test_functions_that_an_administrator_loaded_are_enough(
    redis_7: RedisServer, limited: str, run_worker: Start
) -> None:
    printed = run_cli("doctor", "--print-functions").stdout
    with redis_7.client() as client:
        client.execute_command("FUNCTION LOAD", printed)
    done = run_cli("doctor", "--redis-url", limited)
    assert "function|load" not in done.stdout
    run_worker(limited, FULFIL_ALL)
    place(redis_7, bodies(20))
    wait_until_all(redis_7, bodies(20))
