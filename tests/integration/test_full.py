"""A Redis that takes no writes: what reads works, and what frees memory does, too (invariant 7)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.orders import bodies, dead_letters, place, wait_until_all
from tests.support.process import run_cli
from tests.support.redis_server import VERSIONS, RedisServer
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]
REJECT = """
from fulfillment_worker import Reject

async def fulfil(order):
    if order.id.startswith("D"):
        raise Reject("no such SKU")
"""


@pytest.fixture(params=VERSIONS)
def server(
    request: pytest.FixtureRequest, tmp_path: Path, run_worker: Start
) -> Iterator[RedisServer]:
    """One with a waiting order, a fulfilled one, and two dead letters."""
    server = RedisServer(tmp_path, request.param).start()
    worker = run_worker(server.unix_url, REJECT)
    place(server, [*bodies(1, "F"), *bodies(2, "D")])
    wait_until_all(server, bodies(1, "F"))
    wait_until_all(server, bodies(2, "D"), "dead")
    worker.terminate()
    place(server, bodies(1, "W"))
    yield server
    server.close()


def fill(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)


def turn_read_only(server: RedisServer) -> None:
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")


def fail_to_save(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("save", "3600 1")
        (server.folder / "dump.rdb").mkdir()  # in its way
        client.bgsave()
        eventually(
            lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err",
            what="the save failed",
        )


def fulfillment(server: RedisServer, *arguments: str) -> str:
    done = run_cli(*arguments, env={"FULFILLMENT_REDIS_URL": server.url})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("stop_writes", [fill, turn_read_only, fail_to_save])
def test_commands_that_look_work_where_redis_takes_no_writes(
    server: RedisServer, stop_writes: Callable[[RedisServer], None]
) -> None:
    stop_writes(server)
    (overview,) = json.loads(fulfillment(server, "queue", "--json"))
    assert (overview["waiting"], overview["dead"], overview["received"]) == (1, 2, 3)
    told = fulfillment(server, "status", "F-0", "W-0", "D-0")
    assert all(word in told for word in ("fulfilled", "waiting", "no such SKU"))
    assert "no such SKU" in fulfillment(server, "dead", "list")
    assert '"D-0"' in fulfillment(server, "dead", "show", "D-0")
    assert run_cli("doctor", env={"FULFILLMENT_REDIS_URL": server.url}).stderr == ""


def test_full_redis_can_be_paused_and_rid_of_dead_letters(server: RedisServer) -> None:
    fill(server)
    assert "paused" in fulfillment(server, "pause")
    fulfillment(server, "dead", "drop", "D-0")
    assert [json.loads(letter.raw)["order_id"] for letter in dead_letters(server)] == ["D-1"]
    fulfillment(server, "resume")
    assert json.loads(fulfillment(server, "queue", "--json"))[0]["dropped"] == 1


def test_status_of_a_dead_letter_is_known_after_its_hash_expired(server: RedisServer) -> None:
    with server.client() as client:
        client.delete("{orders}:order:D-1")
    (told,) = json.loads(fulfillment(server, "status", "D-1", "--json"))
    assert (told["status"], told["error"]) == ("dead", "no such SKU")
    assert told["finished_at"] > 0
