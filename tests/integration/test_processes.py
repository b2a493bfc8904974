"""Several worker processes under one supervisor: `--processes N`."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.calls import NOTE, Calls, taking
from tests.support.eventually import eventually
from tests.support.orders import bodies, books, dead_letters, place, wait_until_all
from tests.support.process import run_cli
from tests.support.prometheus import program
from tests.support.redis_server import RedisServer, length, wait_for_status
from tests.support.worker import FULFIL_ALL, RunningWorker, Samples

Start = Callable[..., RunningWorker]

TWO = ("--processes", "2")

# The first time that an order runs, it hangs; the second time it is fulfilled.
HANGS_ONCE = (
    NOTE
    + """
async def fulfil(order):
    note(order, "start")
    try:
        os.close(os.open(order.id, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        note(order, "end")
        return
    await asyncio.sleep(3600)
"""
)
BLOCKS_THE_LOOP = (
    NOTE
    + """
async def fulfil(order):
    note(order, "start")
    time.sleep(30)
"""
)
KILLS_ITS_PROCESS = """
import os
async def fulfil(order):
    if order.body.get("poison"):
        os._exit(7)
"""


def children(worker: RunningWorker) -> dict[str, int]:
    """The pid of the newest process of each seat, as the log tells."""
    return {line["process"]: line["pid"] for line in worker.events("process_started")}


def wait_for_children(worker: RunningWorker, many: int = 2) -> dict[str, int]:
    worker.wait_until_ready()
    eventually(lambda: worker.get("/readyz")[1] == "ok\n", what="all processes consume")
    # The log may be behind.
    eventually(lambda: len(children(worker)) == many, what="the log tells of all processes")
    return children(worker)


def wait_for_successor(worker: RunningWorker, pid: int, seat: str = "0") -> int:
    """The pid of the process that has taken the seat of `pid`."""
    eventually(lambda: children(worker)[seat] != pid, what=f"a successor of {pid}")
    return children(worker)[seat]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def exchanges(server: RedisServer) -> int:
    """How often the server was asked anything by a worker."""
    commands = server.commands()
    return sum(commands.get(name, 0) for name in ("fcall", "blmove", "blpop", "info"))


def counters(page: Samples) -> dict[str, float]:
    """The samples that may only grow."""
    grown = ("_total", "_count", "_sum", "_bucket")
    return {name: value for name, value in page.items() if name.partition("{")[0].endswith(grown)}


def without_process(name: str) -> str:
    """The series as one process would name it."""
    return re.sub(r'process="\w+",|,?process="\w+"', "", name).replace("{}", "")


# --- work -----------------------------------------------------------------------------------------


def test_two_processes_share_the_orders(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    worker = run_worker(redis_7.url, taking(0.01), *TWO, "--concurrency", "10", env=calls.env)
    pids = wait_for_children(worker)
    orders = bodies(300)
    place(redis_7, orders)
    wait_until_all(redis_7, orders)
    assert {call.pid for call in calls.all()} == set(pids.values())
    assert sorted(calls.ids()) == sorted(str(order["order_id"]) for order in orders)

    def counted() -> bool:
        page = worker.scrape()
        assert page.get_sample("orders_processed_total", status="success") == 300
        assert page["orders_received_total"] == 300
        assert page["orders_in_progress"] == 0
        return True

    eventually(counted, what="all orders counted")
    page = worker.scrape()
    assert page["fulfillment_worker_slots"] == 20
    assert page["orders_unaccounted"] == 0
    for process in ("0", "1", "supervisor"):
        assert page.get_sample("process_resident_memory_bytes", process=process) > 2**20
    assert page.get_sample("fulfillment_worker_state", process="1", state="consuming") == 1
    assert books(redis_7).unaccounted == 0


def test_the_series_are_those_of_one_process_apart_from_the_label(
    redis_7: RedisServer, run_worker: Start
) -> None:
    two, one = run_worker(redis_7.url, FULFIL_ALL, *TWO), run_worker(redis_7.url)
    wait_for_children(two)
    one.wait_until_ready()
    page = two.get("/metrics")[1]
    assert {without_process(name) for name in two.scrape()} == set(one.scrape())
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_a_scrape_costs_no_command(redis_7: RedisServer, run_worker: Start) -> None:
    """Invariant 6."""
    worker = run_worker(redis_7.url, FULFIL_ALL, *TWO)
    wait_for_children(worker)
    before = exchanges(redis_7)
    for _ in range(50):
        worker.scrape()
    assert exchanges(redis_7) - before < 10, "those of two idle workers, whoever scrapes"


def test_an_embedded_redis_belongs_to_the_supervisor(tmp_path: Path, run_worker: Start) -> None:
    url = f"embedded:{tmp_path / 'data'}"
    worker = run_worker(url, FULFIL_ALL, *TWO)
    wait_for_children(worker)
    placed = run_cli("enqueue", "--sample", "20", "--redis-url", url)
    assert placed.returncode == 0, placed
    eventually(lambda: worker.scrape().get_sample("orders_processed_total", status="success") == 20)
    assert worker.terminate() == 0
    assert not psutil.pid_exists(worker.pid)


# --- the end of a process -------------------------------------------------------------------------


def test_a_killed_process_is_made_up_for_at_once(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    """Invariants 1, 2 and 4."""
    # Not by the lease, which would be over long after this test.
    options = (*TWO, "--concurrency", "20", "--lease", "1h")
    worker = run_worker(redis_7.url, HANGS_ONCE, *options, env=calls.env)
    pids = wait_for_children(worker)
    orders = bodies(30)
    place(redis_7, orders)
    eventually(lambda: calls.count() == 30, what="all orders running")
    held = {call.order_id for call in calls.all() if call.pid == pids["0"]}
    assert held
    eventually(lambda: worker.scrape()["orders_received_total"] == 30, what="all counted")
    before = worker.scrape()
    kill(pids["0"])
    eventually(lambda: calls.count("end") == len(held), what="its orders ran again")
    assert set(calls.ids("end")) == held
    after = worker.scrape()
    fallen = {n: (v, after[n]) for n, v in counters(before).items() if after[n] < v}
    assert not fallen
    worker.wait_for('"process_ended".*"exit_code": -9')
    wait_for_successor(worker, pids["0"])
    assert children(worker)["1"] == pids["1"]
    eventually(lambda: worker.get("/readyz")[1] == "ok\n", what="all processes consume again")
    page = worker.scrape()
    assert page.get_sample("orders_recovered_total", reason="killed") == len(held)
    assert page["orders_in_progress"] == 30 - len(held)
    assert set(page) == set(before), "the same series as before"
    assert books(redis_7).unaccounted == 0


def test_processes_that_are_killed_at_the_same_moment(
    redis_7: RedisServer, run_worker: Start
) -> None:
    """All are replaced side by side, and the supervisor still hears what it is told."""
    worker = run_worker(redis_7.url, FULFIL_ALL, "--processes", "4")
    pids = wait_for_children(worker, 4)
    for pid in pids.values():
        kill(pid)
    for seat, pid in pids.items():
        wait_for_successor(worker, pid, seat)
    place(redis_7, bodies(20))
    wait_until_all(redis_7, bodies(20))
    assert worker.terminate() == 0


def test_one_process_alone_is_replaced_too(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    """Its orders wait for its successor, since there is nobody else."""
    limit = ("--max-orders-per-process", "100000", "--lease", "1h")
    worker = run_worker(redis_7.url, HANGS_ONCE, *limit, env=calls.env)
    pids = wait_for_children(worker, 1)
    place(redis_7, bodies(5))
    eventually(lambda: calls.count() == 5, what="all orders running")
    kill(pids["0"])
    eventually(lambda: calls.count("end") == 5, what="its orders ran again")


def test_an_order_that_kills_its_process_is_found_out(
    redis_7: RedisServer, run_worker: Start
) -> None:
    """Invariant 4: it ends as a dead letter, while others flow; the loop is told of."""
    worker = run_worker(redis_7.url, KILLS_ITS_PROCESS, *TWO)
    wait_for_children(worker)
    place(redis_7, [{"order_id": "P", "poison": True}])
    wait_for_status(redis_7, "P", "dead")
    assert [letter.reason for letter in dead_letters(redis_7)] == ["orphaned"]
    place(redis_7, bodies(50))
    wait_until_all(redis_7, bodies(50))
    ends = [line["exit_code"] for line in worker.events("process_ended")]
    assert ends == [7, 7, 7]
    eventually(
        lambda: worker.scrape().get_sample("orders_dead_lettered_total", reason="orphaned") == 1
    )


def test_a_loop_of_ends_is_slowed_down_and_told_of(redis_7: RedisServer, run_worker: Start) -> None:
    worker = run_worker(redis_7.url, FULFIL_ALL, *TWO)
    wait_for_children(worker)
    pid = children(worker)["0"]
    for _ in range(2):
        kill(pid)
        pid = wait_for_successor(worker, pid)
    kill(pid)
    worker.wait_for('"process_looping".*"process": "0".*"ends": 3')
    assert worker.get("/readyz") == (200, "ok, 1 of 2; process 0: starting\n")
    assert worker.get("/livez")[0] == 200


def test_a_hung_process_hangs_nobody(redis_7: RedisServer, run_worker: Start) -> None:
    """Invariant 7: the rest is scraped and goes on, and the probes name it."""
    worker = run_worker(redis_7.url, FULFIL_ALL, *TWO, "--lease", "2s")
    pids = wait_for_children(worker)
    os.kill(pids["1"], signal.SIGSTOP)
    try:
        place(redis_7, bodies(20))
        for path in ("/metrics", "/health", "/readyz"):
            assert worker.get(path)[0] == 200
        wait_until_all(redis_7, bodies(20))
        eventually(lambda: worker.get("/livez")[0] == 503, what="/livez 503")
        assert "process 1: stuck: it has not reported for" in worker.get("/livez")[1]
        assert worker.get("/readyz")[0] == 200
        turned = worker.scrape().get_sample(
            "fulfillment_worker_last_loop_timestamp_seconds", process="1"
        )
        assert time.time() - turned > 4
    finally:
        os.kill(pids["1"], signal.SIGCONT)
    eventually(lambda: worker.get("/livez")[0] == 200, what="/livez 200 again")
    assert children(worker) == pids


def test_a_stuck_loop_is_reported_by_its_process(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    worker = run_worker(redis_7.url, BLOCKS_THE_LOOP, *TWO, "--lease", "4s", env=calls.env)
    wait_for_children(worker)
    place(redis_7, bodies(1))
    eventually(lambda: worker.get("/livez")[0] == 503, what="/livez 503")
    assert ": stuck: the event loop has not turned" in worker.get("/livez")[1]


# --- the end of all -------------------------------------------------------------------------------


@pytest.mark.parametrize("whole_group", [False, True], ids=["supervisor", "everybody"])
def test_a_drain_finishes_what_runs(
    redis_7: RedisServer, run_worker: Start, calls: Calls, whole_group: bool
) -> None:
    """A terminal's Ctrl-C, and a service manager's SIGTERM, reach every process: once is meant."""
    worker = run_worker(redis_7.url, taking(1.5), *TWO, "--concurrency", "3", env=calls.env)
    wait_for_children(worker)
    place(redis_7, bodies(6))
    eventually(lambda: calls.count() == 6, what="6 orders running")
    if whole_group:
        os.killpg(worker.pid, signal.SIGINT)
    else:
        worker.signal(signal.SIGTERM)
    eventually(lambda: worker.get("/readyz") == (503, "draining\n"), what="/readyz 503")
    place(redis_7, bodies(3, "late"))
    assert worker.get("/livez")[0] == 200
    assert worker.wait() == 0
    assert calls.count("end") == calls.count() == 6
    assert length(redis_7, "orders") == 3
    now = books(redis_7)
    assert (now.fulfilled, now.in_flight, now.unaccounted) == (6, 0, 0)
    assert {line["exit_code"] for line in worker.events("process_ended")} == {0}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", worker.metrics_port), timeout=1)


@pytest.mark.parametrize("source", [HANGS_ONCE, BLOCKS_THE_LOOP], ids=["waits", "blocks"])
def test_a_second_signal_aborts_at_once(
    redis_7: RedisServer, run_worker: Start, calls: Calls, source: str
) -> None:
    """Also where a loop is blocked: that process is killed, and its orders are put back."""
    worker = run_worker(redis_7.url, source, *TWO, "--shutdown-grace", "1h", env=calls.env)
    pids = wait_for_children(worker)
    place(redis_7, bodies(2))
    eventually(lambda: calls.count() >= 1, what="orders running")
    worker.signal(signal.SIGTERM)
    eventually(lambda: worker.get("/readyz")[0] == 503, what="/readyz 503")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 1
    assert not any(psutil.pid_exists(pid) for pid in pids.values())
    assert "Traceback" not in worker.output
    now = books(redis_7)
    assert (now.in_flight, now.unaccounted) == (0, 0)
    assert now.retrying + now.waiting == 2


def test_the_children_of_a_killed_supervisor_drain_and_end(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    """Invariant 1; and no process is left behind that nobody watches."""
    worker = run_worker(redis_7.url, taking(1.0), *TWO, "--concurrency", "3", env=calls.env)
    pids = wait_for_children(worker)
    place(redis_7, bodies(6))
    eventually(lambda: calls.count() == 6, what="6 orders running")
    worker.kill()
    place(redis_7, bodies(2, "late"))
    eventually(lambda: not any(map(psutil.pid_exists, pids.values())), what="all processes gone")
    assert calls.count("end") == 6
    now = books(redis_7)
    assert (now.fulfilled, now.in_flight, now.waiting, now.unaccounted) == (6, 0, 2, 0)


# --- recycling ------------------------------------------------------------------------------------


def test_a_worn_out_process_drains_while_its_successor_works(
    redis_7: RedisServer, run_worker: Start, calls: Calls, tmp_path: Path
) -> None:
    source = (
        NOTE
        + """
async def fulfil(order):
    note(order, "start")
    while order.id == "slow" and not os.path.exists(os.environ["FLAG"]):
        await asyncio.sleep(0.01)
    note(order, "end")
"""
    )
    limit, flag = ("--max-orders-per-process", "5"), tmp_path / "flag"
    worker = run_worker(redis_7.url, source, *limit, env=calls.env | {"FLAG": str(flag)})
    first = wait_for_children(worker, 1)["0"]
    before = worker.scrape()
    place(redis_7, [{"order_id": "slow"}])
    eventually(lambda: calls.count() == 1, what="the slow order running")
    place(redis_7, bodies(6))
    wait_until_all(redis_7, bodies(6))
    worker.wait_for('"process_worn_out".*has run [56] attempts')
    second = wait_for_successor(worker, first)
    worker.wait_for('"worker_draining"')
    place(redis_7, bodies(3, "later"))
    wait_until_all(redis_7, bodies(3, "later"))
    assert calls.count("end") == 9, "the slow order runs on, in the process that drains"
    assert {c.pid for c in calls.all() if c.order_id.startswith("later")} == {second}
    eventually(lambda: worker.get("/readyz") == (200, "ok\n"), what="/readyz ok")
    flag.touch()
    wait_for_status(redis_7, "slow", "fulfilled")
    worker.wait_for('"process_ended".*"exit_code": 0')
    assert not psutil.pid_exists(first)
    eventually(
        lambda: worker.scrape().get_sample("orders_processed_total", status="success") == 10,
        what="all counted, those of both processes",
    )
    assert set(worker.scrape()) == set(before)
    assert books(redis_7).fulfilled == 10
    assert len(calls.ids()) == len(set(calls.ids())), "no order ran twice"


# --- what can't work ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        ("broken:fulfil", "no_such_module"),
        ("ends:fulfil", "ended with exit code 5 while it loaded the handler"),
    ],
)
def test_a_handler_that_cannot_be_loaded(
    redis_7: RedisServer, tmp_path: Path, handler: str, says: str
) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "ends.py").write_text("import os\nos._exit(5)\n")
    place(redis_7, bodies(1))
    done = run_cli(
        *("run", "--redis-url", redis_7.url, "--metrics-port", "0", *TWO),
        *("--handler", handler),
        cwd=tmp_path,
    )
    assert done.returncode == 2, done
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert length(redis_7, "orders") == 1


def test_a_taken_metrics_port(redis_7: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(FULFIL_ALL)
    place(redis_7, bodies(1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        done = run_cli(
            *("run", "--redis-url", redis_7.url, "--handler", "shop:fulfil", *TWO),
            *("--metrics-host", "127.0.0.1", "--metrics-port", port),
            cwd=tmp_path,
        )
    assert done.returncode == 3, done
    assert port in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert length(redis_7, "orders") == 1
