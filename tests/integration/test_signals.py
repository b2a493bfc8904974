"""Signals, from the first instruction on, whatever the handler's module does."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.calls import NOTE, Calls
from tests.support.eventually import eventually
from tests.support.orders import bodies, books, place, wait_until_all
from tests.support.process import RunningProcess
from tests.support.redis_server import RedisServer, wait_for_status
from tests.support.worker import FULFIL_ALL, RunningWorker

Start = Callable[..., RunningWorker]

ONE, TWO = (), ("--processes", "2")
BOTH = pytest.mark.parametrize("options", [ONE, TWO], ids=["one", "two"])

IMPORTED_FOR_A_MINUTE = """
import time
print("importing", flush=True)
ends = time.monotonic() + 60
while time.monotonic() < ends:
    try:
        time.sleep(1)
    except BaseException:
        pass
async def fulfil(order):
    pass
"""
WAITS = (
    NOTE
    + """
async def fulfil(order):
    note(order, "start")
    while not os.path.exists(os.environ["CALLS"] + ".go"):
        await asyncio.sleep(0.01)
"""
)
TAKES_SIGTERM_WHEN_IMPORTED = (
    "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n" + WAITS
)
TAKES_SIGTERM_LATER = WAITS.replace(
    'note(order, "start")',
    'import signal; signal.signal(signal.SIGTERM, lambda *_: os._exit(9)); note(order, "start")',
)
TAKES_SIGTERM_THROUGH_THE_LOOP = WAITS.replace(
    'note(order, "start")',
    "import signal\n"
    "    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sys.exit, 9)\n"
    '    note(order, "start")',
)


def go_on(calls: Calls) -> None:
    """Let orders end."""
    Path(calls.env["CALLS"] + ".go").touch()


def last_turn(worker: RunningWorker) -> float:
    """When the loop that was the last to turn did so, in Unix seconds."""
    name = "fulfillment_worker_last_loop_timestamp_seconds"
    return min(value for series, value in worker.scrape().items() if series.startswith(name))


@BOTH
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_during_the_import_of_the_handler_ends_the_worker(
    redis_7: RedisServer, run_worker: Start, number: signal.Signals, options: tuple[str, ...]
) -> None:
    worker = run_worker(redis_7.url, IMPORTED_FOR_A_MINUTE, *options)
    worker.wait_for("importing")
    worker.signal(number)
    assert worker.wait(15) == 0
    assert "Traceback" not in worker.output


@BOTH
def test_sighup_drains(
    redis_7: RedisServer, run_worker: Start, calls: Calls, options: tuple[str, ...]
) -> None:
    """A terminal that closes sends it, and the shell in it does so again."""
    place(redis_7, bodies(1))
    worker = run_worker(redis_7.url, WAITS, *options, env=calls.env)
    eventually(lambda: calls.count() == 1, what="the order runs")
    for _ in range(2):
        worker.signal(signal.SIGHUP)
        worker.wait_for("_draining")
    go_on(calls)
    assert worker.wait() == 0
    wait_for_status(redis_7, "A-0", "fulfilled")


def test_sighup_stays_ignored_where_it_was(redis_7: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(FULFIL_ALL)
    run = [sys.executable, "-m", "fulfillment_worker", "run", "--metrics-port", "0"]
    run += ["--redis-url", redis_7.url, "--handler", "shop:fulfil"]
    with RunningProcess(["nohup", *run], cwd=tmp_path) as worker:
        worker.wait_for("worker_started")
        worker.signal(signal.SIGHUP)
        place(redis_7, bodies(1))
        wait_for_status(redis_7, "A-0", "fulfilled")
        assert worker.terminate() == 0


@BOTH
@pytest.mark.parametrize(
    "handler",
    [TAKES_SIGTERM_WHEN_IMPORTED, TAKES_SIGTERM_LATER, TAKES_SIGTERM_THROUGH_THE_LOOP],
    ids=["imported", "later", "through the loop"],
)
def test_sigterm_that_a_library_has_taken_drains(
    redis_7: RedisServer,
    run_worker: Start,
    calls: Calls,
    handler: str,
    options: tuple[str, ...],
) -> None:
    worker = run_worker(redis_7.url, handler, *options, env=calls.env)
    worker.wait_until_ready()
    place(redis_7, bodies(1))
    eventually(lambda: calls.count() == 1, what="the order runs")
    taken = time.time()
    eventually(lambda: last_turn(worker) > taken + 0.5, what="the loop has turned since")
    os.killpg(worker.pid, signal.SIGTERM)  # as a service manager does
    worker.wait_for("_draining")
    go_on(calls)
    assert worker.wait() == 0
    wait_for_status(redis_7, "A-0", "fulfilled")
    assert books(redis_7).unaccounted == 0


# --- process 1 ------------------------------------------------------------------------------------

# What is left behind becomes a child of process 1, or of one that has asked for it as this one has.
AS_PROCESS_1 = """
import ctypes, sys
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
from fulfillment_worker.runtime.init import go_on_in_a_child
go_on_in_a_child()
from fulfillment_worker.__main__ import main
main()
"""
LEAVES_A_PROCESS_BEHIND = """
import subprocess
def fulfil(order):
    done = subprocess.run(["sh", "-c", "sleep 0.01 & exit 3"])
    assert done.returncode == 3
"""
KILLS_ITSELF = "import os, signal\nasync def fulfil(order):\n    os.kill(os.getpid(), 9)\n"


def under_process_1(
    run_worker: Start, redis_url: str, handler: str, *options: str
) -> RunningWorker:
    return run_worker(redis_url, handler, *options, program=("-c", AS_PROCESS_1))


@BOTH
def test_process_1_leaves_no_zombies(
    redis_7: RedisServer, run_worker: Start, options: tuple[str, ...]
) -> None:
    first = under_process_1(
        run_worker, redis_7.url, LEAVES_A_PROCESS_BEHIND, *options, "--max-attempts", "1"
    )
    orders = bodies(30)
    place(redis_7, orders)
    wait_until_all(redis_7, orders)

    eventually(lambda: len(psutil.Process(first.pid).children()) == 1, what="only the worker left")
    assert first.terminate() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_process_1_passes_signals_on(
    redis_7: RedisServer, run_worker: Start, calls: Calls, number: signal.Signals
) -> None:
    place(redis_7, bodies(1))
    first = run_worker(redis_7.url, WAITS, program=("-c", AS_PROCESS_1), env=calls.env)
    eventually(lambda: calls.count() == 1, what="the order runs")
    first.signal(number)
    first.wait_for("worker_draining")
    go_on(calls)
    assert first.wait() == 0
    wait_for_status(redis_7, "A-0", "fulfilled")


def test_process_1_exits_as_its_worker_does(redis_7: RedisServer, run_worker: Start) -> None:
    first = under_process_1(run_worker, redis_7.url, FULFIL_ALL, "--metrics-port", "70000")
    assert first.wait() == 2
    first = under_process_1(run_worker, redis_7.url, KILLS_ITSELF)
    place(redis_7, bodies(1))
    assert first.wait() == 128 + signal.SIGKILL
