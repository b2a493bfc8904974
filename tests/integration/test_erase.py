"""Erasing an order removes every byte of it, wherever it is, and the books still balance."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fulfillment_worker.cli.main import main
from fulfillment_worker.core.outcome import Fulfilled, Requeued, Retried
from fulfillment_worker.queue import keys
from tests.integration.test_operator import Undertaker, bury
from tests.support.orders import bodies, books, place
from tests.support.redis_server import RedisServer

Cli = Callable[..., Result]
SECRET = b"Jane Doe"


@pytest.fixture
def cli(redis_server: RedisServer) -> Cli:
    def run(*args: str) -> Result:
        return CliRunner().invoke(main, [*args, "--redis-url", redis_server.url])

    return run


def erased(cli: Cli, *args: str, code: int = 0) -> list[dict[str, Any]]:
    done = cli("erase", "--json", *args)
    assert done.exit_code == code, done.output
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told


def is_anywhere(server: RedisServer, *texts: bytes) -> bool:
    """Whether any of these is in any key or value of Redis."""
    with server.client() as client:
        return any(
            text in name or text in (client.dump(name) or b"") or text in _all(client, name)
            for name in client.keys("*")
            for text in texts
        )


def _all(client: Any, name: bytes) -> bytes:
    reads: dict[bytes, Callable[[], object]] = {
        b"string": lambda: client.get(name),
        b"list": lambda: client.lrange(name, 0, -1),
        b"hash": lambda: client.hgetall(name),
        b"zset": lambda: client.zrange(name, 0, -1),
        b"stream": lambda: client.xrange(name),
    }
    return repr(reads[client.type(name)]()).encode()


def unaccounted(server: RedisServer) -> int:
    """Orders received that are in no place; those that were erased count as dropped."""
    with server.client() as client:
        dropped = int(client.hget(keys.books("orders"), "dropped") or 0)
    return books(server).unaccounted - dropped


def person(order_id: str) -> dict[str, Any]:
    return {"order_id": order_id, "name": SECRET.decode()}


def worked_off(server: RedisServer, outcome: Callable[[int, str], Any]) -> None:
    """One order is claimed, begun, and ends so."""

    async def work() -> None:
        undertaker = Undertaker(server)
        ((delivery, order_id),) = await undertaker.begin(1)
        await undertaker.exchange(outcomes=[outcome(delivery, order_id)])
        await undertaker.queue.close()

    asyncio.run(work())


def test_erase_removes_an_order_that_waits(cli: Cli, redis_server: RedisServer) -> None:
    place(redis_server, [*bodies(3), person("P-1"), person("P-1"), *bodies(2, "B")])
    (told,) = erased(cli, "P-1")
    assert (told["orders"], told["status"]) == (2, False)
    assert not is_anywhere(redis_server, SECRET, b"P-1")
    assert books(redis_server).waiting == 5


def test_erase_removes_an_order_that_retries(cli: Cli, redis_server: RedisServer) -> None:
    place(redis_server, [person("P-1")])
    worked_off(redis_server, lambda d, i: Retried(d, i, 1, f"{SECRET.decode()} moved", 60_000))
    (told,) = erased(cli, "P-1")
    assert (told["orders"], told["status"]) == (1, True)
    assert told["events"] >= 2
    assert not is_anywhere(redis_server, SECRET, b"P-1")
    assert books(redis_server).retrying == 0
    assert unaccounted(redis_server) == 0


def test_erase_removes_dead_letters_and_what_the_audit_says(
    cli: Cli, redis_server: RedisServer
) -> None:
    bury(redis_server, [person("P-1")])
    cli("dead", "retry", "P-1", "--why", f"{SECRET.decode()} called")
    worked_off(redis_server, lambda d, i: Requeued(d, i, 1))
    (told,) = erased(cli, "P-1", "--why", "request 88", "--by", "dpo@desk")
    assert (told["orders"], told["acts"]) == (1, 1)
    assert not is_anywhere(redis_server, SECRET, b"P-1")
    assert unaccounted(redis_server) == 0
    (act,) = json.loads(cli("audit", "--json").stdout)
    assert (act["act"], act["count"], act["why"], act["by"]) == (
        "erase",
        1,
        "request 88",
        "dpo@desk",
    )


def test_erase_removes_the_status_of_a_fulfilled_order(cli: Cli, redis_server: RedisServer) -> None:
    place(redis_server, [person("P-1")])
    worked_off(redis_server, lambda d, i: Fulfilled(d, i, 1))
    (told,) = erased(cli, "P-1")
    assert (told["orders"], told["status"]) == (0, True)
    assert not is_anywhere(redis_server, SECRET, b"P-1")
    assert unaccounted(redis_server) == 0


def test_erase_leaves_an_order_that_is_being_handled(cli: Cli, redis_server: RedisServer) -> None:
    place(redis_server, [person("P-1"), *bodies(1)])

    async def begin() -> str:
        undertaker = Undertaker(redis_server)
        await undertaker.begin(1)
        await undertaker.queue.close()
        return undertaker.name

    name = asyncio.run(begin())
    (told,) = erased(cli, "P-1", code=1)
    assert (told["held"], told["orders"]) == (name, 0)
    assert "P-1' is being handled" in cli("erase", "P-1").stderr
    assert is_anywhere(redis_server, SECRET)


def test_erase_dry_run_removes_nothing(cli: Cli, redis_server: RedisServer) -> None:
    place(redis_server, [person("P-1")])
    (told,) = erased(cli, "P-1", "--dry-run")
    assert (told["orders"], told["dry_run"]) == (1, True)
    assert "would erase 1 entry, no status" in cli("erase", "P-1", "--dry-run").stdout
    assert is_anywhere(redis_server, SECRET)


def test_erase_of_an_order_that_is_not_there_changes_nothing(
    cli: Cli, redis_server: RedisServer
) -> None:
    place(redis_server, bodies(2))
    assert erased(cli, "P-1")[0]["orders"] == 0
    assert "nothing is there" in cli("erase", "P-1").stdout
    with redis_server.client() as client:
        assert not client.exists(keys.audit("orders"))
    assert books(redis_server).waiting == 2


def test_erase_leaves_orders_whose_id_is_longer(cli: Cli, redis_server: RedisServer) -> None:
    place(redis_server, [person("P-1"), {"order_id": "P-10"}, {"order_id": "X", "of": "P-1"}])
    assert erased(cli, "P-1")[0]["orders"] == 1
    assert books(redis_server).waiting == 2


def test_erase_of_several_orders_is_one_act(cli: Cli, redis_server: RedisServer) -> None:
    place(redis_server, [person("P-1"), person("P-2"), *bodies(2)])
    assert [told["orders"] for told in erased(cli, "P-1", "P-2", "P-1")] == [1, 1]
    (act,) = json.loads(cli("audit", "--json").stdout)
    assert (act["act"], act["count"]) == ("erase", 2)
    assert not is_anywhere(redis_server, SECRET, b"P-1", b"P-2")
    assert books(redis_server).waiting == 2


def test_erase_of_an_id_that_is_not_utf_8_finds_nothing(
    cli: Cli, redis_server: RedisServer
) -> None:
    place(redis_server, bodies(1))
    (told,) = erased(cli, "A\udcff")
    assert (told["orders"], told["status"]) == (0, False)
    assert "nothing is there" in cli("erase", "A\udcff").stdout
