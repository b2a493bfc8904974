"""Variables that libraries read, set for something else or set wrongly: the worker works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.orders import bodies, place, wait_until_all
from tests.support.process import run_cli
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]

COUNTS = """
from prometheus_client import Counter

parcels = Counter("parcels", "Parcels packed.")

async def fulfil(order):
    parcels.inc()
"""


@pytest.mark.parametrize("processes", ["1", "2"])
def test_metrics_of_the_worker_are_not_in_the_files_of_prometheus_multiproc_dir(
    processes: str, redis_7: RedisServer, run_worker: Start, tmp_path: Path
) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    env = {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    worker = run_worker(redis_7.url, COUNTS, "--processes", processes, env=env)
    orders = bodies(20)
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    worker.wait_until_ready()
    assert worker.terminate() == 0
    written = b"".join(file.read_bytes() for file in folder.glob("*.db"))
    assert b"parcels_total" in written  # the shop's own are where it wants them
    assert b"orders_" not in written
    assert b"fulfillment_" not in written


def test_a_missing_prometheus_multiproc_dir_does_not_concern_the_worker(
    redis_7: RedisServer, run_worker: Start, tmp_path: Path
) -> None:
    worker = run_worker(redis_7.url, env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "missing")})
    orders = bodies(20)
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    worker.wait_until_ready()
    worker.wait_until_fulfilled(20)
    assert worker.terminate() == 0


@pytest.mark.parametrize("handler", ["https://127.0.0.1:1/", "shop:fulfil"])
def test_an_sslkeylogfile_that_cannot_be_written_is_ignored_in_one_line(
    handler: str, redis_7: RedisServer, run_worker: Start
) -> None:
    env = {"SSLKEYLOGFILE": "/nowhere/keys"}
    options = ("--handler", handler) if "//" in handler else ()
    worker = run_worker(redis_7.url, "async def fulfil(order): pass", *options, env=env)
    worker.wait_until_ready()
    assert worker.terminate() == 0
    assert worker.output.count("SSLKEYLOGFILE can't be written") == 1
    assert "Traceback" not in worker.output


ODD = {
    "a time zone that there isn't": {"TZ": "Nowhere/Land"},
    "a language that there isn't": {"LANG": "xx_YY.KLINGON", "LC_ALL": "xx_YY.KLINGON"},
    "an old encoding": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "no home and no place for files": {"HOME": "/nowhere", "TMPDIR": "/nowhere"},
    "a terminal of no size": {"COLUMNS": "0", "LINES": "wide", "TERM": "", "NO_COLOR": ""},
    "warnings as errors": {"PYTHONWARNINGS": "error"},
    "no assertions and no docs": {"PYTHONOPTIMIZE": "2"},
    "debugging": {"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1"},
    "proxies": {"HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "socks9://nowhere"},
    "certificates that there aren't": {"SSL_CERT_FILE": "/nowhere", "SSL_CERT_DIR": "/nowhere"},
}


@pytest.mark.parametrize("env", ODD.values(), ids=ODD.keys())
def test_an_odd_environment_fails_no_order(
    env: dict[str, str], redis_7: RedisServer, run_worker: Start
) -> None:
    worker = run_worker(redis_7.url, env=env)
    orders = bodies(5)
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    assert worker.terminate() == 0
    assert "Traceback" not in worker.output
    status = run_cli("status", orders[0]["order_id"], "--redis-url", redis_7.url, env=env)
    assert (status.returncode, "Traceback" in status.stderr) == (0, False), status.stderr
