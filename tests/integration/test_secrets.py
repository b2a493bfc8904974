"""Passwords in addresses are shown nowhere: logs, metrics, probes, messages, `ps`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.support.eventually import eventually
from tests.support.orders import bodies
from tests.support.process import RunningProcess, free_port, run_cli
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

NewRedis = Callable[..., RedisServer]

PASSWORD = "hunter2/?@:%é"
ENCODED = quote(PASSWORD, safe="")
SECRETS = ("hunter2", PASSWORD, ENCODED)


def check_hidden(*texts: str) -> None:
    for text in texts:
        assert [secret for secret in SECRETS if secret in text] == []
        assert "Traceback" not in text


@pytest.fixture
def guarded(new_redis: NewRedis) -> RedisServer:
    """A server that wants the password."""
    return new_redis("redis-7", "--requirepass", PASSWORD)


def url_of(server: RedisServer, password: str = ENCODED) -> str:
    return f"redis://:{password}@127.0.0.1:{server.port}/0"


def shown_by_ps(process: RunningProcess) -> str:
    """The command lines of the worker and of what it started."""
    command = ["ps", "-o", "args=", "-g", str(process.pid)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Consumer(RunningWorker):
    """A worker that is told its addresses by the environment alone, and logs all it can."""

    def __init__(self, url: str, handler: str) -> None:
        env = {
            "FULFILLMENT_REDIS_URL": url,
            "FULFILLMENT_HANDLER": handler,
            "FULFILLMENT_METRICS_HOST": "127.0.0.1",
            "FULFILLMENT_METRICS_PORT": "0",
            "FULFILLMENT_LOG_LEVEL": "debug",
            "FULFILLMENT_RETRY_BASE": "10ms",
            "FULFILLMENT_MAX_ATTEMPTS": "2",
        }
        RunningProcess.__init__(self, [sys.executable, "-m", "fulfillment_worker", "run"], env=env)

    @property
    def everything(self) -> list[str]:
        """All that it shows to whoever looks."""
        pages = [self.get(path)[1] for path in ("/metrics", "/readyz", "/livez", "/nothing")]
        return [self.output, shown_by_ps(self), *pages]


def test_a_worker_with_secrets_shows_none(guarded: RedisServer) -> None:
    url = url_of(guarded)
    env = {"FULFILLMENT_REDIS_URL": url}
    with Consumer(url, f"http://shop:{ENCODED}@127.0.0.1:{free_port()}/orders") as worker:
        worker.wait_until_ready()
        line = json.dumps(bodies(1)[0])
        shown = [run_cli("enqueue", "-", env=env, stdin=line)]
        eventually(
            lambda: worker.scrape().get_sample("fulfillment_dead_letter_depth") == 1,
            what="a dead letter",
        )
        for command in (["status", "A-0"], ["queue"]):
            shown += [run_cli(*command, env=env), run_cli(*command, "--json", env=env)]
        assert [done.returncode for done in shown] == [0] * len(shown)
        check_hidden(*worker.everything, *(done.stdout + done.stderr for done in shown))
        assert "***@127.0.0.1" in worker.output
        assert worker.terminate() == 0
    check_hidden(worker.output)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://:{secret}@127.0.0.1:{port}/0", "refused the user name or the password"),
        ("redis://{secret}:{secret}@127.0.0.1:{port}/0", "refused the user name or the password"),
        ("redis://:{secret}@127.0.0.1:{closed}/0", "can't be reached"),
        ("redis://:{secret}@nowhere.invalid/0", "can't be reached"),
        ("rediss://:{secret}@127.0.0.1:{port}/0", "can't be reached"),
        ("unix://:{secret}@/nowhere/redis.sock", "can't be reached"),
        (
            "redis+sentinel://:{secret}@127.0.0.1:{closed}/shop?sentinel_password={secret}",
            "no sent",
        ),
        ("redis+cluster://:{secret}@127.0.0.1:{closed}", "can't be reached"),
        ("redis+cluster://:{secret}@127.0.0.1:{port}", "refused the user name or the password"),
    ],
)
def test_a_connection_that_fails_shows_no_secret(new_redis: NewRedis, url: str, says: str) -> None:
    server = new_redis("redis-7", "--requirepass", "another")
    url = url.format(secret=ENCODED, port=server.port, closed=free_port())
    with Consumer(url, "http://127.0.0.1:9/orders") as worker:
        done = run_cli("queue", "--json", env={"FULFILLMENT_REDIS_URL": url})
        assert done.returncode == 1
        assert says in done.stderr
        eventually(lambda: says in worker.get("/readyz")[1], what=f"/readyz {says}")
        check_hidden(*worker.everything, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{ENCODED}@127.0.0.1/0",
        f"redis://:{ENCODED}@127.0.0.1:no-port/0",
        f"redis://:{ENCODED}@127.0.0.1/0?db=1",
        f"redis://{ENCODED}@127.0.0.1/0",
        "redis://:hunter2/?@:%é@127.0.0.1/0",
        f"redis+sentinel://:{ENCODED}@127.0.0.1",
        f"redis+sentinel://a/shop?sentinel_pasword={ENCODED}",
    ],
)
def test_an_address_that_is_wrong_shows_no_secret(url: str) -> None:
    """As a flag and as a variable, in any command."""
    as_flag = run_cli("queue", "--json", "--redis-url", url)
    as_variable = run_cli(
        "run", env={"FULFILLMENT_REDIS_URL": url, "FULFILLMENT_HANDLER": f"http://:{ENCODED}@"}
    )
    assert (as_flag.returncode, as_variable.returncode) == (2, 2)
    check_hidden(as_flag.stdout, as_flag.stderr, as_variable.stdout, as_variable.stderr)


def test_help_shows_no_secret() -> None:
    env = {"FULFILLMENT_REDIS_URL": f"redis://:{ENCODED}@h/0"}
    for command in ([], ["run"], ["enqueue"], ["status"], ["queue"]):
        done = run_cli(*command, "--help", env=env)
        assert done.returncode == 0
        check_hidden(done.stdout, done.stderr)
