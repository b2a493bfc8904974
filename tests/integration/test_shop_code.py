"""What the shop's code does to its process: prints, pools, hostile exceptions, stopped loops."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.orders import place, statuses, wait_until_all
from tests.support.process import environment, run_cli
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]

BUFFERED = {"PYTHONUNBUFFERED": ""}

PRINTS = """
import asyncio, sys

async def fulfil(order):
    print("packing", order.id, "\\ud83d €")
    print("warning", order.id, file=sys.stderr)
    if order.id == "slow":
        await asyncio.sleep(60)
"""


@pytest.mark.parametrize("processes", ["1", "2"])
def test_print_is_seen_while_the_handler_runs(
    processes: str, redis_7: RedisServer, run_worker: Start
) -> None:
    worker = run_worker(redis_7.url, PRINTS, "--processes", processes, env=BUFFERED)
    place(redis_7, [{"order_id": "slow"}])
    worker.wait_for("packing slow")
    worker.kill()  # nothing is lost with it: it was there before


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_print_of_characters_that_the_encoding_lacks_fails_no_order(
    encoding: str, redis_7: RedisServer, run_worker: Start
) -> None:
    worker = run_worker(redis_7.url, PRINTS, env={"PYTHONIOENCODING": encoding})
    place(redis_7, [{"order_id": "A"}])
    wait_until_all(redis_7, [{"order_id": "A"}])
    worker.wait_for(r"packing A \\ud83d")
    assert worker.terminate() == 0


CLOSED = {
    "stdout closed": ">&-",
    "stderr closed": "2>&-",
    "all closed": "<&- >&- 2>&-",
    "reader gone": "| true",
    "disk full": ">/dev/full 2>/dev/full",
}


@pytest.mark.parametrize("redirection", CLOSED.values(), ids=CLOSED.keys())
@pytest.mark.parametrize("processes", ["1", "2"])
def test_output_that_nobody_takes_fails_no_order(
    redirection: str, processes: str, redis_7: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(PRINTS)
    command = (
        f"echo $$ > pid; exec {sys.executable} -m fulfillment_worker run --handler shop:fulfil "
        f"--redis-url {redis_7.url} --metrics-port 0 --processes {processes}"
    )
    shell = subprocess.Popen(
        ["bash", "-c", f"bash -c '{command}' {redirection}"],
        cwd=tmp_path,
        env=environment({"PYTHONPATH": str(tmp_path)}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        orders = [{"order_id": f"A-{number}"} for number in range(20)]
        place(redis_7, orders)
        wait_until_all(redis_7, orders)
    finally:
        subprocess.run(["kill", (tmp_path / "pid").read_text().strip()], check=True)
        shell.wait(40)


POOL = """
import atexit, threading
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(2)
books = open("books.txt", "a")
atexit.register(lambda: open("atexit.txt", "w").write("called"))

def fulfil(order):
    books.write(order.id)
    pool.submit(int).result()
    if order.id == "hangs":
        pool.submit(threading.Event().wait)
    atexit.register(books.flush)
"""


@pytest.mark.parametrize("order_id", ["A", "hangs"])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_atexit_is_called_whatever_a_pool_of_threads_does(
    order_id: str, processes: str, redis_7: RedisServer, run_worker: Start, tmp_path: Path
) -> None:
    worker = run_worker(redis_7.url, POOL, "--processes", processes)
    folder = next(tmp_path.rglob("shop.py")).parent
    place(redis_7, [{"order_id": order_id}])
    wait_until_all(redis_7, [{"order_id": order_id}])
    assert worker.terminate() == 0
    assert (folder / "atexit.txt").read_text() == "called"
    assert (folder / "books.txt").read_text() == order_id


HOSTILE = """
import asyncio

class NoClass(Exception):
    @property
    def __class__(self):
        raise RuntimeError("no class")

class NoText(Exception):
    def __str__(self):
        raise SystemExit("no text")
    __repr__ = __str__
    def __eq__(self, other):
        raise KeyboardInterrupt
    def __bool__(self):
        raise KeyboardInterrupt
    __hash__ = __bool__

class NoName(type):
    @property
    def __name__(cls):
        raise RuntimeError("no name")

class Nameless(Exception, metaclass=NoName):
    pass

ERRORS = {"class": NoClass, "text": NoText, "name": Nameless}

def raise_for(order):
    kind = ERRORS.get(order.id.partition("-")[2])
    if kind:
        raise kind("no")

async def fulfil(order):
    await asyncio.sleep(0)
    raise_for(order)
"""


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_exceptions_that_cannot_be_read_free_their_slots(
    kind: str, redis_7: RedisServer, run_worker: Start
) -> None:
    handler = HOSTILE if kind == "async def" else HOSTILE + "\nfulfil = raise_for\n"
    worker = run_worker(redis_7.url, handler, "--concurrency", "2", "--max-attempts", "1")
    bad = [f"{number}-{what}" for number in range(3) for what in ("class", "text", "name")]
    place(redis_7, [{"order_id": order_id} for order_id in bad])
    place(redis_7, [{"order_id": "good"}])
    wait_until_all(redis_7, [{"order_id": "good"}])
    eventually(lambda: set(statuses(redis_7, bad)) == {"dead"}, what="the others are dead")
    assert worker.terminate() == 0
    # A line of the log has the traceback of the shop's code; the worker's own has none.
    assert not [line for line in worker.lines if "Traceback" in line and line[0] != "{"]


STOPS_THE_LOOP = """
import asyncio

async def fulfil(order):
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
"""


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_handler_that_stops_the_loop_stops_no_order(
    processes: str, redis_7: RedisServer, run_worker: Start
) -> None:
    worker = run_worker(redis_7.url, STOPS_THE_LOOP, "--processes", processes)
    orders = [{"order_id": f"A-{number}"} for number in range(5)]
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    eventually(lambda: worker.events("loop_stopped"), what="it is told")
    assert worker.terminate() == 0
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize(
    ("module", "tells", "call"),
    [
        ("gevent.monkey", "is_module_patched", "gevent.monkey.patch_all"),
        ("eventlet.patcher", "is_monkey_patched", "eventlet.monkey_patch"),
    ],
)
def test_a_patched_standard_library_is_refused_in_one_line(
    module: str, tells: str, call: str, processes: str, tmp_path: Path
) -> None:
    package, _, name = module.partition(".")
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / f"{name}.py").write_text(
        f"def {tells}(name):\n    return name == 'socket'\n"
    )
    (tmp_path / "shop.py").write_text(f"import {module}\ndef fulfil(order): pass\n")
    done = run_cli(
        *("run", "--handler", "shop:fulfil", "--metrics-port", "0", "--processes", processes),
        env={"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"'shop' calls {call}" in line
