"""Handlers that fork, keep pools of processes, and start programs."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.support.calls import NOTE, Calls
from tests.support.eventually import eventually
from tests.support.orders import Body, bodies, books, place, wait_until_all
from tests.support.process import free_port
from tests.support.redis_server import RedisServer
from tests.support.worker import FULFIL_ALL, RunningWorker

Start = Callable[..., RunningWorker]

ONE, TWO = (), ("--processes", "2")

STARTS_PROGRAMS = """
import signal, subprocess
def fulfil(order):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        program = subprocess.Popen(["sleep", "60"])
        program.send_signal(number)
        assert program.wait(10) == -number
"""
USES_A_POOL_FOR_EACH_ORDER = """
import multiprocessing
context = multiprocessing.get_context("fork")
def fulfil(order):
    with context.Pool(2) as pool:
        assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]
"""
TERMINATES_A_PROCESS = """
import multiprocessing, time
context = multiprocessing.get_context("fork")
def fulfil(order):
    process = context.Process(target=time.sleep, args=(3600,))
    process.start()
    process.terminate()
    process.join()
    # None where another thread, in its own `start`, saw the end first and is about to note it.
    while process.exitcode is None:
        time.sleep(0.01)
    assert process.exitcode == -15, process.exitcode
"""
TERMINATES_A_PROCESS_OF_THE_LOOP = TERMINATES_A_PROCESS.replace("def fulfil", "async def fulfil")

STARTS_A_PROCESS = (
    NOTE
    + """
import multiprocessing
def fulfil(order):
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
    process.daemon = order.body["daemon"]
    process.start()
    note(order, "start")
"""
)
KEEPS_A_POOL = (
    NOTE
    + """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("{method}"))
def fulfil(order):
    assert pool.submit(abs, -1).result() == 1
    note(order, "start")
"""
)
FORKS = """
import os, sys, time
{how} fulfil(order):
    pid = os.fork()
    if not pid:
        {child}
    else:
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code == {code}, code
"""
# A tracer whose lock another thread holds at the fork, as seen from the copy.
FORKS_WHILE_TRACED = """
import os, sys, time
worker = os.getpid()
def trace(frame, event, argument):
    while os.getpid() != worker and "fulfillment_worker" in frame.f_code.co_filename:
        time.sleep(1)
def fulfil(order):
    sys.settrace(trace)
    pid = os.fork()
    if not pid:
        sys.exit(5)
    sys.settrace(None)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 5
"""
FORKS_AND_STAYS = (
    NOTE
    + """
{how} fulfil(order):
    if not order.body.get("forks"):
        return
    if not os.fork():
        note(order, "start")
        time.sleep(3600)
"""
)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def forked(calls: Calls) -> Iterator[None]:
    """Ends what tests leave behind."""
    yield
    for call in calls.all():
        if psutil.pid_exists(call.pid):
            psutil.Process(call.pid).kill()


def with_field(many: int, name: str, value: object) -> list[Body]:
    """So many orders with one more field."""
    return [body | {name: value} for body in bodies(many)]


def family(worker: RunningWorker) -> list[psutil.Process]:
    """What the worker has started, and what that has."""
    return psutil.Process(worker.pid).children(recursive=True)


def assert_all_gone(processes: list[psutil.Process]) -> None:
    eventually(lambda: not psutil.wait_procs(processes, timeout=0)[1], what="all of them gone")


def assert_free(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        pass


def connections(pid: int) -> set[int]:
    """The local ports of its TCP connections, and of what it listens on."""
    return {each.laddr.port for each in psutil.Process(pid).net_connections("tcp")}


# --- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize(
    "handler",
    [
        STARTS_PROGRAMS,
        USES_A_POOL_FOR_EACH_ORDER,
        TERMINATES_A_PROCESS,
        TERMINATES_A_PROCESS_OF_THE_LOOP,
    ],
    ids=["programs", "pools", "processes", "processes of the loop"],
)
def test_signal_ends_what_a_handler_starts(
    redis_7: RedisServer, run_worker: Start, handler: str, options: tuple[str, ...]
) -> None:
    worker = run_worker(redis_7.url, handler, *options, "--max-attempts", "1", "--concurrency", "4")
    orders = bodies(40)
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    assert not books(redis_7).dead
    assert worker.terminate() == 0


# --- the end of the worker ------------------------------------------------------------------------


@pytest.mark.parametrize("daemon", [True, False])
def test_process_of_a_handler_does_not_keep_the_worker(
    redis_7: RedisServer, run_worker: Start, calls: Calls, daemon: bool
) -> None:
    worker = run_worker(redis_7.url, STARTS_A_PROCESS, env=calls.env)
    place(redis_7, with_field(3, "daemon", daemon))
    eventually(lambda: calls.count() == 3, what="three processes started")
    started = family(worker)
    assert len(started) == 3
    assert worker.terminate() == 0
    assert_all_gone(started)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pool_ends_with_its_worker(
    redis_7: RedisServer, run_worker: Start, calls: Calls, method: str
) -> None:
    worker = run_worker(redis_7.url, KEEPS_A_POOL.replace("{method}", method), env=calls.env)
    place(redis_7, bodies(5))
    eventually(lambda: calls.count() == 5, what="all orders done")
    port, started = worker.metrics_port, family(worker)
    assert started
    assert worker.terminate() == 0
    assert_free(port)
    assert_all_gone(started)


def test_pool_ends_with_a_worker_that_is_killed(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    worker = run_worker(redis_7.url, KEEPS_A_POOL.replace("{method}", "fork"), env=calls.env)
    place(redis_7, bodies(5))
    eventually(lambda: calls.count() == 5, what="all orders done")
    port, started = worker.metrics_port, family(worker)
    worker.kill()
    assert_free(port)
    assert_all_gone(started)


def test_pools_of_replaced_processes_do_not_pile_up(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    limit = ("--max-orders-per-process", "5", "--concurrency", "2")
    handler = KEEPS_A_POOL.replace("{method}", "fork")
    worker = run_worker(redis_7.url, handler, *limit, env=calls.env)
    for turn in range(5):
        place(redis_7, bodies(5, f"A{turn}"))
        worker.wait_for("(?s)" + 'event": "process_ended".*' * (turn + 1))
    assert calls.count() == 25
    eventually(lambda: len(family(worker)) <= 3, what="no more than one process and its pool")
    assert worker.terminate() == 0


# --- copies of the worker -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["def", "async def"])
@pytest.mark.parametrize(
    ("child", "code"),
    [("sys.exit(5)", 5), ("sys.exit()", 0), ("raise ValueError('x')", 1), ("return", 0)],
    ids=["exits", "exits with nothing", "raises", "returns"],
)
def test_fork_that_comes_back_ends_as_a_program_would(
    redis_7: RedisServer, run_worker: Start, how: str, child: str, code: int
) -> None:
    source = FORKS.format(how=how, child=child, code=code)
    worker = run_worker(redis_7.url, source, "--max-attempts", "1")
    orders = bodies(20)
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    assert not family(worker)
    page = worker.wait_until_fulfilled(20)
    assert page.get_sample("orders_processed_total", status="error") == 0


def test_fork_waits_for_no_lock_of_a_tracer(redis_7: RedisServer, run_worker: Start) -> None:
    """Coverage, or a debugger: the copy would hang in the hook, deaf to SIGTERM."""
    worker = run_worker(redis_7.url, FORKS_WHILE_TRACED, "--max-attempts", "1")
    place(redis_7, bodies(3))
    wait_until_all(redis_7, bodies(3))
    assert not family(worker)


def test_fork_that_waits_in_the_loop_ends(redis_7: RedisServer, run_worker: Start) -> None:
    child = "import asyncio; await asyncio.sleep(0)"
    worker = run_worker(redis_7.url, FORKS.format(how="async def", child=child, code=1))
    orders = bodies(5)
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    assert not family(worker)


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize("options", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("how", ["def", "async def"])
def test_fork_has_no_connection_of_the_worker(
    redis_7: RedisServer,
    run_worker: Start,
    calls: Calls,
    how: str,
    options: tuple[str, ...],
) -> None:
    source = FORKS_AND_STAYS.replace("{how}", how)
    worker = run_worker(redis_7.url, source, *options, env=calls.env)
    worker.wait_until_ready()
    place(redis_7, with_field(1, "forks", True))
    eventually(lambda: calls.count() == 1, what="the fork runs")
    eventually(lambda: not connections(calls.all()[0].pid), what="it has no connection")
    worker.wait_until_ready()


@pytest.mark.usefixtures("forked")
def test_order_does_not_go_to_the_fork_of_a_dead_worker(
    redis_7: RedisServer, run_worker: Start, calls: Calls, port: int
) -> None:
    """Invariants 1 and 9."""
    source = FORKS_AND_STAYS.replace("{how}", "def")
    at = ("--metrics-port", str(port))
    worker = run_worker(redis_7.url, source, *at, env=calls.env)
    place(redis_7, with_field(1, "forks", True))
    eventually(lambda: calls.count() == 1, what="the fork runs")
    worker.wait_until_ready()
    worker.signal(signal.SIGKILL)
    worker.wait()
    orders = bodies(3, "B")
    place(redis_7, orders)
    heir = run_worker(redis_7.url, FULFIL_ALL, *at)
    wait_until_all(redis_7, orders)
    assert heir.terminate() == 0


def test_fork_ends_with_its_worker(redis_7: RedisServer, run_worker: Start, calls: Calls) -> None:
    worker = run_worker(redis_7.url, FORKS_AND_STAYS.replace("{how}", "def"), env=calls.env)
    place(redis_7, with_field(2, "forks", True))
    eventually(lambda: calls.count() == 2, what="both forks run")
    forks = family(worker)
    assert worker.terminate() == 0
    assert_all_gone(forks)
