"""A password that comes from a file, and is rotated while workers run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from tests.support.eventually import eventually
from tests.support.process import run_cli
from tests.support.redis_server import RedisServer
from tests.support.topology import SERVICE, Sentinel
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]
NewRedis = Callable[..., RedisServer]

OLD, NEW = "hunter-old", "hunter-new"
VARIABLE = "FULFILLMENT_REDIS_PASSWORD_FILE"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{OLD}\n")
    return path


@pytest.fixture
def guarded(new_redis: NewRedis) -> RedisServer:
    return new_redis("redis-7", "--requirepass", OLD)


def fulfils(server: RedisServer, order_id: str, password: str) -> None:
    """Place an order, and wait until it is fulfilled."""
    with server.client(password=password, decode_responses=True) as client:
        client.lpush("orders", f'{{"order_id": "{order_id}"}}')
        key = f"{{orders}}:order:{order_id}"
        eventually(lambda: client.hget(key, "status") == "fulfilled", what=f"{order_id} fulfilled")


def rotate(server: RedisServer, old: str, new: str) -> None:
    """Redis has another password from now on, and hangs up on everybody."""
    with server.client(password=old) as client:
        client.config_set("requirepass", new)
        for each in client.client_list():
            if int(each["id"]) != client.client_id():
                with suppress(redis.exceptions.ResponseError):
                    client.client_kill_filter(_id=each["id"])


def says(worker: RunningWorker, *words: str) -> None:
    def found() -> bool:
        status, body = worker.get("/readyz")
        assert all(word in body for word in words), body
        return status == 503

    eventually(found, what=f"/readyz {words}")


def test_password_is_rotated_under_a_running_worker(
    guarded: RedisServer, run_worker: Start, secret: Path
) -> None:
    worker = run_worker(guarded.url, env={VARIABLE: str(secret)})
    worker.wait_until_ready()
    fulfils(guarded, "A", OLD)
    rotate(guarded, OLD, NEW)
    says(worker, "refused the user name or the password", str(secret))
    secret.write_text(NEW)
    fulfils(guarded, "B", NEW)
    assert worker.returncode is None
    assert "hunter" not in worker.output


def test_password_file_that_is_gone_is_as_if_redis_were_away(
    guarded: RedisServer, run_worker: Start, secret: Path
) -> None:
    worker = run_worker(guarded.url, env={VARIABLE: str(secret)})
    worker.wait_until_ready()
    secret.unlink()
    rotate(guarded, OLD, OLD)
    says(worker, f"{VARIABLE} is {secret}: it can't be read: No such file or directory")
    secret.write_text(OLD)
    fulfils(guarded, "A", OLD)


@pytest.mark.parametrize("command", ["queue", "status A", "dead list", "pause", "resume", "doctor"])
def test_commands_take_the_password_file(guarded: RedisServer, secret: Path, command: str) -> None:
    more = ("--metrics-port", "0") if command == "doctor" else ()
    with guarded.client(password=OLD) as client:
        client.lpush("orders", b'{"order_id": "A"}')
    where = ("--redis-url", guarded.url, "--redis-password-file", str(secret))
    done = run_cli(*command.split(), *where, *more)
    assert "password" not in done.stderr
    assert done.returncode == 0 or command in ("doctor", "status A"), done.stderr
    assert command != "doctor" or "accepts the login" in done.stdout


def test_supervised_processes_take_the_password_file(
    guarded: RedisServer, run_worker: Start, secret: Path
) -> None:
    several = ("async def fulfil(order): ...\n", "--processes", "2")
    run_worker(guarded.url, *several, env={VARIABLE: str(secret)}).wait_until_ready()
    fulfils(guarded, "A", OLD)


def test_password_file_is_for_the_server_and_not_for_sentinels(
    guarded: RedisServer, run_worker: Start, secret: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sentinel"
    folder.mkdir()
    sentinel = Sentinel(folder, guarded, f"sentinel auth-pass {SERVICE} {OLD}").start()
    try:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/{SERVICE}/0"
        run_worker(url, env={VARIABLE: str(secret)}).wait_until_ready()
        fulfils(guarded, "A", OLD)
    finally:
        sentinel.close()
