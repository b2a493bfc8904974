"""`fulfillment-worker events`: the changes of status as lines of JSON."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fulfillment_worker.cli.main import main
from tests.support.eventually import eventually
from tests.support.orders import place, wait_until_all
from tests.support.process import RunningProcess, environment, run_cli
from tests.support.redis_server import RedisServer
from tests.support.topology import cluster
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]

NEW_YEAR = 1_767_225_600_000


def add(server: RedisServer, order_id: str | bytes, id: str = "*", queue: str = "orders") -> str:
    """An event, and its id."""
    entry: Any = {"order_id": order_id, "status": "fulfilled", "attempt": 1, "at": 1767225600000}
    with server.client(decode_responses=True) as client:
        client.hset(f"{{{queue}}}:books", "received", 1)
        return str(client.xadd(f"{{{queue}}}:events", entry, id=id))


def read(server: RedisServer, *args: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(main, ["events", "--redis-url", server.url, *args])
    assert (done.exit_code, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def ids_of(lines: list[dict[str, Any]]) -> list[str]:
    return [line["order_id"] for line in lines]


def follow(url: str, *args: str) -> RunningProcess:
    command = [sys.executable, "-m", "fulfillment_worker", "events", "--follow"]
    return RunningProcess([*command, "--redis-url", url, *args])


def lines_of(process: RunningProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in list(process.lines) if line.startswith("{")]


def test_events_are_lines_of_json(redis_server: RedisServer, run_worker: Start) -> None:
    with redis_server.client() as client:
        client.lpush("orders", "rubbish")
    orders = [{"order_id": "A-1"}]
    place(redis_server, orders)
    run_worker(redis_server.url)
    wait_until_all(redis_server, orders)
    dead, begun, ended = sorted(read(redis_server), key=lambda line: line["order_id"])
    assert list(begun) == ["id", "queue", "order_id", "status", "attempt", "at"]
    assert (begun["queue"], begun["order_id"], begun["attempt"]) == ("orders", "A-1", 1)
    assert (begun["status"], ended["status"]) == ("processing", "fulfilled")
    assert (dead["status"], dead["reason"]) == ("dead", "invalid")
    assert begun["at"] <= ended["at"]
    # Redis 7.0 takes the time of the entry anew, and a millisecond may have passed.
    assert int(ended["id"].split("-")[0]) >= ended["at"]


def test_events_of_many_pages_come_in_order(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        pipe = client.pipeline()
        for number in range(1700):
            queue = ("a", "b", "c")[number % 3 if number < 900 else 1]
            entry: Any = {"order_id": number, "status": "dead", "attempt": 1, "at": 1}
            pipe.xadd(f"{{{queue}}}:events", entry, id=f"{1000 + number // 7}-{number}")
        for queue in ("a", "b", "c"):
            pipe.lpush(queue, "x")
        pipe.execute()
    lines = read(redis_server, "--queue", "c,a,b")
    assert ids_of(lines) == [str(number) for number in range(1700)]
    assert [line["queue"] for line in lines[:3]] == ["a", "b", "c"]


def test_events_after_an_id_or_a_time(redis_server: RedisServer) -> None:
    second = [add(redis_server, name, f"{NEW_YEAR}-{name}") for name in "123"][1]
    with redis_server.client() as client:
        now = int(client.time()[0]) * 1000
    add(redis_server, "4", f"{now - 600_000}-0")
    add(redis_server, "5", f"{now - 60_000}-0")
    assert ids_of(read(redis_server, "--after", second)) == ["3", "4", "5"]
    assert ids_of(read(redis_server, "--after", "0-0")) == ["1", "2", "3", "4", "5"]
    assert ids_of(read(redis_server, "--after", "5m")) == ["5"]
    assert ids_of(read(redis_server, "--after", "2026-01-01T00:00:00Z"))[:2] == ["1", "2"]
    assert ids_of(read(redis_server, "--after", "2026-01-01T01:00:00.001+01:00")) == ["4", "5"]
    assert read(redis_server, "--after", f"{2**64 - 1}-0") == []


@pytest.mark.parametrize(
    "after",
    ["", "yesterday", "-1", "5", "5x", "1-2-3", f"{2**64}-0", "2026-01-01T00:00:00", "\x1b[31m"],
)
def test_events_after_nothing_known_is_wrong_usage(after: str) -> None:
    done = CliRunner().invoke(main, ["events", f"--after={after}"])
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("fulfillment-worker: --after is ")
    assert "RFC 3339" in line
    assert "\x1b" not in line


def test_events_with_foreign_bytes_steer_no_terminal(redis_server: RedisServer) -> None:
    add(redis_server, b"\xff\x1b[31m\n\xe2\x80\xae")
    with redis_server.client() as client:
        client.xadd("{orders}:events", {"id": "mine", "attempt": "many", "at": "1e3"})
    done = CliRunner().invoke(main, ["events", "--redis-url", redis_server.url])
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["order_id"] == "\\xff\x1b[31m\n\u202e"
    assert (second["attempt"], second["at"]) == (None, None)
    assert second["id"] != "mine"


def test_events_of_an_unknown_queue_are_none(redis_server: RedisServer) -> None:
    done = CliRunner().invoke(main, ["events", "--redis-url", redis_server.url, "--queue", "oders"])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "there is no queue 'oders'" in done.stderr


def test_events_are_followed_until_ctrl_c(redis_server: RedisServer) -> None:
    add(redis_server, "old", queue="a")
    last = add(redis_server, "1", queue="b")
    with follow(redis_server.url, "--queue", "a,b", "--after", last) as process:
        for name, queue in zip("23456", "ababa", strict=True):
            add(redis_server, name, queue=queue)
        eventually(lambda: len(lines_of(process)) == 5, what="all five")
        lines = lines_of(process)
        assert {*ids_of(lines)} == {*"23456"}
        assert [line["id"] for line in lines] == sorted(line["id"] for line in lines)
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        assert len(process.lines) == 5, process.output


@pytest.mark.parametrize("version", ["redis-7", "valkey-9"])
def test_events_are_followed_over_a_restart_of_redis(
    new_redis: Callable[..., RedisServer], version: str
) -> None:
    server = new_redis(version, persistent=True)
    add(server, "1")
    with follow(server.url) as process:
        eventually(lambda: ids_of(lines_of(process)) == ["1"], what="what was there")
        add(server, "2")
        eventually(lambda: ids_of(lines_of(process)) == ["1", "2"], what="what came")
        server.stop()
        process.wait_for("it goes on where it was")
        server.start()
        add(server, "3")
        eventually(lambda: len(lines_of(process)) == 3, what="what came after that")
        assert ids_of(lines_of(process)) == ["1", "2", "3"]
        assert "Traceback" not in process.output


def test_events_that_may_not_be_waited_for_are_an_error(redis_server: RedisServer) -> None:
    add(redis_server, "1")
    with redis_server.client() as client:
        client.acl_setuser(
            "reader",
            enabled=True,
            passwords=["+secret"],
            keys=["*"],
            categories=["+@all"],
            commands=["-xread"],
        )
    url = f"redis://reader:secret@127.0.0.1:{redis_server.port}/0"
    done = run_cli("events", "--follow", "--redis-url", url)
    assert done.returncode == 1
    assert ids_of([json.loads(line) for line in done.stdout.splitlines()]) == ["1"]
    assert "xread" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_events_end_when_their_reader_is_gone(redis_server: RedisServer) -> None:
    for number in range(3):
        add(redis_server, str(number))
    command = [sys.executable, "-m", "fulfillment_worker", "events", "--follow"]
    program = subprocess.Popen(
        [*command, "--redis-url", redis_server.url],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert program.stdout is not None
    assert json.loads(program.stdout.readline())["order_id"] == "0"
    program.stdout.close()  # as `head` does, and nothing more is to be written
    assert program.stderr is not None
    assert program.stderr.read() == b""
    program.stderr.close()
    assert program.wait() in (0, 1)


def test_events_of_a_cluster(tmp_path: Path) -> None:
    with cluster(tmp_path / "c", replicas=1) as group:
        queues = ["orders", "express", "returns", "a"]

        def put(name: str, queue: str) -> None:
            with group.client() as client:
                entry = {"order_id": name, "status": "dead", "attempt": 1, "at": 1}
                client.hset(f"{{{queue}}}:books", "received", 1)
                client.xadd(f"{{{queue}}}:events", entry)

        for queue in queues:
            put("1", queue)
        with follow(group.url, "--queue", ",".join(queues)) as process:
            eventually(lambda: len(lines_of(process)) == 4, what="what was there")
            for queue in [*queues, *queues]:
                put("2", queue)
            eventually(lambda: len(lines_of(process)) == 12, what="what came")
            process.signal(signal.SIGINT)
            assert process.wait() == 0
            assert len(process.lines) == 12, process.output
