"""The worker is short of threads, descriptors or processes: no order pays for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.support.eventually import eventually
from tests.support.orders import bodies, place, wait_until_all
from tests.support.process import RunningProcess, run_cli
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]

# As the system does it at a limit of threads: `start` fails. Root is above such limits.
LIMIT = """
import pathlib, threading, time

limit = pathlib.Path("limit")
for name in ("_start_new_thread", "_start_joinable_thread"):
    if start := getattr(threading, name, None):
        def limited(*args, _start=start, **more):
            if limit.exists() and threading.active_count() - 1 >= int(limit.read_text()):
                raise RuntimeError("can't start new thread")
            return _start(*args, **more)
        setattr(threading, name, limited)

def fulfil(order):
    time.sleep(0.01)
"""


def _limit(worker_folder: Path, threads: int) -> None:
    (worker_folder / "limit.new").write_text(str(threads))
    (worker_folder / "limit.new").replace(worker_folder / "limit")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "worker-0"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("processes", ["1", "2"])
def test_shortage_of_threads_costs_no_order(
    processes: str, redis_7: RedisServer, run_worker: Start, folder: Path
) -> None:
    """Invariant 4."""
    _limit(folder, 12)
    options = ("--max-attempts", "1", "--processes", processes)
    worker = run_worker(redis_7.url, LIMIT, *options)
    orders = bodies(400)
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    assert worker.events("worker_short")
    assert "can't start new thread" in worker.events("worker_short")[0]["error"]
    assert not worker.events("order_dead_lettered") + worker.events("order_retried")
    assert worker.terminate() == 0


def test_shortage_of_all_threads_ends_by_itself(
    redis_7: RedisServer, run_worker: Start, folder: Path
) -> None:
    worker = run_worker(redis_7.url, LIMIT, "--max-attempts", "1")
    worker.wait_until_ready()
    _limit(folder, 0)
    orders = bodies(20)
    place(redis_7, orders)

    def told() -> bool:
        status, why = worker.get("/readyz")
        assert (status, "can't start new thread" in why) == (503, True), why
        return True

    eventually(told, what="/readyz names the cause")
    (folder / "limit").unlink()
    wait_until_all(redis_7, orders)
    worker.wait_until_ready()
    eventually(lambda: worker.events("shortage_over"), what="the end is told")
    assert not worker.events("order_dead_lettered") + worker.events("order_retried")
    assert worker.terminate() == 0


CANNOT_START = "fulfillment-worker: no thread can be started (can't start new thread)"


def test_shortage_of_threads_at_the_start_is_told_in_one_line(
    redis_7: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(LIMIT)
    _limit(tmp_path, 0)
    command = ("run", "--handler", "shop:fulfil", "--redis-url", redis_7.url, "--metrics-port", "0")
    done = run_cli(*command, env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path)
    assert done.returncode == 1
    assert CANNOT_START in done.stderr
    assert "Traceback" not in done.stderr


def test_shortage_of_threads_at_the_start_of_processes_ends_by_itself(
    redis_7: RedisServer, run_worker: Start, folder: Path
) -> None:
    _limit(folder, 0)
    worker = run_worker(redis_7.url, LIMIT, "--processes", "2")
    worker.wait_for("process_looping")
    (folder / "limit").unlink()
    eventually(lambda: worker.get("/readyz")[1] == "ok\n", what="both processes consume")
    assert worker.terminate() == 0
    assert CANNOT_START in worker.output
    assert "Traceback" not in worker.output


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    go_on = Event()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.go_on.wait(60)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def shop_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_shortage_of_descriptors_costs_a_url_handler_no_order(
    redis_7: RedisServer, shop_url: str, tmp_path: Path
) -> None:
    program = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)); "
        "runpy.run_module('fulfillment_worker', None, '__main__')"
    )
    command = [
        *(sys.executable, "-c", program, "run", "--handler", shop_url, "--redis-url", redis_7.url),
        *("--metrics-port", "0", "--max-attempts", "1", "--concurrency", "100"),
    ]
    with RunningProcess(command, cwd=tmp_path) as worker:
        orders = bodies(400)
        place(redis_7, orders)
        worker.wait_for("worker_short")
        Shop.go_on.set()
        wait_until_all(redis_7, orders)
        assert worker.terminate() == 0
        events = [json.loads(line)["event"] for line in worker.lines if line.startswith("{")]
    assert "order_dead_lettered" not in events
