"""Orders that hang the whole interpreter, or its event loop."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.calls import NOTE, Calls
from tests.support.eventually import PATIENCE, eventually
from tests.support.orders import bodies, books, order_hash, place, wait_until_all
from tests.support.redis_server import RedisServer, wait_for_status
from tests.support.worker import FULFIL_ALL, RunningWorker

Start = Callable[..., RunningWorker]

# A regular expression holds the interpreter's lock for as long as it takes, here for years.
HANGS_THE_INTERPRETER = """
import re
def fulfil(order):
    if order.id == "hangs":
        re.match(r"(a+)+$", "a" * 60 + "b")
"""
HANGS_THE_LOOP = """
async def fulfil(order):
    while order.id == "hangs":
        pass
"""
HANGS = {"interpreter": HANGS_THE_INTERPRETER, "loop": HANGS_THE_LOOP}

SHORT = ("--lease", "2s", "--concurrency", "4")


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens with."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(PATIENCE)
        yield listening


def notifying(systemd: socket.socket) -> dict[str, str]:
    """What systemd puts into the environment of a service with a watchdog."""
    return {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "30000000"}


def stuck_for(worker: RunningWorker) -> float:
    """For how many seconds the loop has not turned, by /livez."""
    found = re.search(r"has not turned for ([\d.]+) s", worker.get("/livez")[1])
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    ("handler", "processes"),
    [(HANGS_THE_LOOP, 2), (HANGS_THE_INTERPRETER, 3)],
    ids=["loop-2", "interpreter-3"],
)
def test_hung_process_is_replaced_and_its_order_ends_as_a_dead_letter(
    redis_7: RedisServer, run_worker: Start, handler: str, processes: int
) -> None:
    """Invariants 1, 4 and 9."""
    worker = run_worker(redis_7.url, handler, *SHORT, "--processes", str(processes))
    worker.wait_until_ready()
    place(redis_7, [{"order_id": "hangs"}])
    orders = bodies(200)
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    eventually(lambda: books(redis_7).dead == 1, what="the order a dead letter")
    assert "died with it" in order_hash(redis_7, "hangs")["error"]
    assert books(redis_7).unaccounted == 0
    eventually(lambda: len(worker.events("process_ended")) == 3, what="three ends")
    eventually(lambda: worker.get("/readyz")[1] == "ok\n", what="all consume again")
    assert {line["exit_code"] for line in worker.events("process_ended")} == {-9}
    assert 'shop.py", line' in worker.output, "where it hung"
    page = worker.scrape()
    assert page.get_sample("fulfillment_worker_crashes_total", reason="killed") == 3
    assert worker.terminate() == 0, worker.output


def test_hung_process_that_hears_no_stop_does_not_keep_the_supervisor(
    redis_7: RedisServer, run_worker: Start
) -> None:
    # A grace that would be over long after this test.
    options = ("--processes", "2", "--shutdown-grace", "1h")
    worker = run_worker(redis_7.url, HANGS_THE_INTERPRETER, *SHORT, *options)
    worker.wait_until_ready()
    place(redis_7, [{"order_id": "hangs"}])
    eventually(lambda: order_hash(redis_7, "hangs").get("status") == "processing")
    assert worker.terminate() == 1
    assert books(redis_7).unaccounted == 0
    assert books(redis_7).in_flight == 0


def test_process_that_was_stopped_on_purpose_is_not_ended(
    redis_7: RedisServer, run_worker: Start
) -> None:
    worker = run_worker(redis_7.url, FULFIL_ALL, *SHORT, "--processes", "2")
    worker.wait_until_ready()
    eventually(lambda: worker.get("/readyz")[1] == "ok\n", what="both consume")
    pid = worker.events("process_started")[0]["pid"]
    psutil.Process(pid).suspend()
    try:
        silent = re.compile(r"has not reported for (9|\d\d+)")
        eventually(lambda: silent.search(worker.get("/livez")[1]), what="silent for long")
    finally:
        psutil.Process(pid).resume()
    eventually(lambda: worker.get("/livez")[0] == 200, what="it reports again")
    assert not worker.events("process_hung")
    assert psutil.pid_exists(pid)


@pytest.mark.parametrize("handler", HANGS.values(), ids=HANGS)
def test_hung_worker_ends_itself_and_says_where_it_hung(
    redis_7: RedisServer, run_worker: Start, calls: Calls, handler: str
) -> None:
    """Whoever started it starts it again: systemd, Docker, Kubernetes."""
    place(redis_7, [{"order_id": "hangs"}])
    worker = run_worker(redis_7.url, NOTE + handler, *SHORT, env=calls.env)
    assert worker.wait() == 1
    assert 'shop.py", line' in worker.output
    orders = bodies(5)
    place(redis_7, orders)
    heir = run_worker(redis_7.url, FULFIL_ALL, *SHORT)
    wait_until_all(redis_7, orders)
    wait_for_status(redis_7, "hangs", "fulfilled")
    assert heir.terminate() == 0


@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["one", "two"])
def test_systemd_hears_of_the_start_the_turns_and_the_end(
    redis_7: RedisServer, run_worker: Start, systemd: socket.socket, options: tuple[str, ...]
) -> None:
    worker = run_worker(redis_7.url, FULFIL_ALL, *options, env=notifying(systemd))
    assert systemd.recv(100) == b"READY=1"
    worker.wait_until_ready()
    for _ in range(3):
        assert systemd.recv(100) == b"WATCHDOG=1"
    assert worker.terminate() == 0
    while (heard := systemd.recv(100)) == b"WATCHDOG=1":
        pass
    assert heard == b"STOPPING=1"


def test_systemd_hears_nothing_of_a_loop_that_hangs(
    redis_7: RedisServer, run_worker: Start, systemd: socket.socket
) -> None:
    worker = run_worker(redis_7.url, HANGS_THE_LOOP, env=notifying(systemd))
    worker.wait_until_ready()
    place(redis_7, [{"order_id": "hangs"}])
    eventually(lambda: worker.get("/livez")[0] == 503, what="/livez 503")
    systemd.setblocking(False)
    with suppress(BlockingIOError):
        while systemd.recv(100):
            pass
    eventually(lambda: stuck_for(worker) > 6, what="the loop has not turned for more than 6 s")
    with pytest.raises(BlockingIOError):
        systemd.recv(100)
