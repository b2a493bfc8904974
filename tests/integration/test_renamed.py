"""Commands that were renamed away, or are not permitted: what a worker can do without."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.eventually import eventually
from tests.support.orders import bodies, place, wait_until_all
from tests.support.process import run_cli
from tests.support.redis_server import VERSIONS, RedisServer
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]
NewRedis = Callable[..., RedisServer]


def found_by_doctor(url: str) -> dict[str, str]:
    """The findings that are about commands, with what was found."""
    done = run_cli("doctor", "--metrics-port", "0", "--json", "--redis-url", url)
    kinds = {"no_info", "nameless", "unseen", "commands", "rights", "refused", "unreachable"}
    findings = json.loads(done.stdout)["findings"]
    return {each["kind"]: each["what"] for each in findings if each["kind"] in kinds}


@pytest.mark.parametrize("version", VERSIONS)
def test_info_and_client_renamed_away_keep_no_worker_from_its_orders(
    new_redis: NewRedis, run_worker: Start, version: str
) -> None:
    away = [word for name in ("INFO", "CLIENT") for word in ("--rename-command", name, "")]
    server = new_redis(version, *away)
    worker = run_worker(server.url)
    worker.wait_until_ready()
    place(server, bodies(3))
    wait_until_all(server, bodies(3))
    assert "3" in run_cli("queue", "--json", "--redis-url", server.url).stdout
    assert found_by_doctor(server.url).keys() == {"no_info", "nameless"}
    assert worker.events("redis_lost") == []


@pytest.mark.parametrize("version", VERSIONS)
def test_info_and_client_not_permitted_keep_no_worker_from_its_orders(
    new_redis: NewRedis, run_worker: Start, version: str
) -> None:
    server = new_redis(version, "--user", "w", "on", ">x", "~*", "+@all", "-info", "-client")
    url = server.url.replace("//", "//w:x@")
    worker = run_worker(url)
    worker.wait_until_ready()
    place(server, bodies(3))
    wait_until_all(server, bodies(3))
    assert found_by_doctor(url).keys() == {"no_info", "nameless"}


def test_hello_renamed_away_keeps_no_worker_from_its_orders(
    new_redis: NewRedis, run_worker: Start
) -> None:
    server = new_redis("redis-7", "--rename-command", "HELLO", "", "--requirepass", "x")
    url = server.url.replace("//", "//:x@")
    worker = run_worker(url)
    worker.wait_until_ready()
    with server.client(password="x", protocol=2) as client:
        client.lpush("orders", '{"order_id": "A"}')
        eventually(lambda: client.hget("{orders}:order:A", "status") == b"fulfilled")
    # The commands for people read what only the newer protocol tells, and say so.
    done = run_cli("queue", "--json", "--redis-url", url)
    assert done.returncode == 1
    assert "does not know a command that is needed" in done.stderr
    assert "HELLO" in done.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", ["HSET", "BLMOVE"])
def test_command_that_is_needed_and_renamed_away_is_named(
    new_redis: NewRedis, run_worker: Start, version: str, command: str
) -> None:
    server = new_redis(version, "--rename-command", command, "")
    worker = run_worker(server.url)

    def is_named() -> bool:
        status, body = worker.get("/readyz")
        assert "does not know a command that is needed" in body, body
        return status == 503 and command.lower() in body.lower()

    eventually(is_named, what=f"/readyz names {command}")
    assert command in found_by_doctor(server.url)["commands"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("rule", ["-hset", "resetkeys ~orders"])
def test_right_that_is_missing_in_a_script_is_recognised(
    new_redis: NewRedis, run_worker: Start, version: str, rule: str
) -> None:
    server = new_redis(version)
    with server.client() as client:
        every = ("reset", "on", ">x", "~*", "+@all")
        client.execute_command("ACL", "SETUSER", "w", *every, *rule.split())
    worker = run_worker(server.url.replace("//", "//w:x@"))

    def is_named() -> bool:
        return "does not permit this user a command" in worker.get("/readyz")[1]

    eventually(is_named, what="/readyz says so")
