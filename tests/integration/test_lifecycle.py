"""From the start to the end of a worker: what it promises on the way, and how it exits."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.calls import NOTE, Calls, taking
from tests.support.eventually import eventually
from tests.support.orders import bodies, books, events_of, order_hash, place, wait_until_all
from tests.support.process import free_port, run_cli
from tests.support.redis_server import RedisServer, length, wait_for_status
from tests.support.worker import FULFIL_ALL, RunningWorker

Start = Callable[..., RunningWorker]

UNTIL_THE_FLAG = (
    NOTE
    + """
async def fulfil(order):
    note(order, "start")
    while not os.path.exists(os.environ["FLAG"]):
        await asyncio.sleep(0.01)
    note(order, "end")
"""
)
HANGS = (
    NOTE
    + """
async def fulfil(order):
    note(order, "start")
    await asyncio.sleep(3600)
"""
)
HANGS_IN_A_THREAD = (
    NOTE
    + """
def fulfil(order):
    note(order, "start")
    time.sleep(3600)
"""
)
REFUSES_TO_STOP = (
    NOTE
    + """
async def fulfil(order):
    note(order, "start")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""
)


# --- the end, in peace --------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_finishes_what_runs(
    redis_7: RedisServer, run_worker: Start, calls: Calls, tmp_path: Path, number: signal.Signals
) -> None:
    flag = tmp_path / "flag"
    place(redis_7, bodies(5))
    worker = run_worker(redis_7.url, UNTIL_THE_FLAG, env=calls.env | {"FLAG": str(flag)})
    eventually(lambda: calls.count() == 5, what="5 orders running")
    assert worker.get("/readyz")[0] == 200
    worker.signal(number)
    eventually(lambda: worker.get("/readyz")[0] == 503, what="/readyz 503")
    place(redis_7, bodies(3, "late"))
    assert "draining" in worker.get("/readyz")[1]
    assert worker.get("/health") == (200, "ok\n")
    assert worker.get("/livez")[0] == 200
    page = worker.scrape()
    assert page.get_sample("fulfillment_worker_state", state="draining") == 1
    assert page.get_sample("fulfillment_worker_state", state="consuming") == 0
    assert page["orders_in_progress"] == 5
    flag.touch()
    assert worker.wait(10) == 0
    assert calls.count("end") == calls.count() == 5
    assert length(redis_7, "orders") == 3
    now = books(redis_7)
    assert (now.received, now.fulfilled, now.in_flight, now.unaccounted) == (5, 5, 0, 0)
    assert all(changes[-1] == ("fulfilled", 1) for changes in events_of(redis_7).values())
    with redis_7.client() as client:
        assert client.zcard("{orders}:workers") == 0
        assert client.zcard("{orders}:leases") == 0
        assert [each for each in client.hkeys("{orders}:books") if b"exchanges" in each] == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", worker.metrics_port), timeout=1)


def test_metrics_are_served_until_the_drain_has_ended(
    redis_7: RedisServer, run_worker: Start
) -> None:
    place(redis_7, bodies(40))
    slow = "import asyncio\nasync def fulfil(order):\n    await asyncio.sleep(0.8)\n"
    worker = run_worker(redis_7.url, slow)
    eventually(lambda: worker.scrape()["orders_in_progress"] == 40)
    worker.signal(signal.SIGTERM)

    def refused() -> bool:
        try:
            page = worker.scrape()
        except ConnectionError:
            return True
        assert page.get_sample("fulfillment_worker_state", state="consuming") == 0
        return False

    eventually(lambda: worker.get("/readyz")[0] == 503, what="/readyz 503")
    eventually(refused, what="the port closed")
    assert books(redis_7).fulfilled == 40
    assert worker.wait(5) == 0


def test_orders_that_were_claimed_but_not_begun_are_given_back(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    orders = bodies(2000)
    place(redis_7, orders)
    worker = run_worker(redis_7.url, taking(0.01), "--concurrency", "200", env=calls.env)
    eventually(lambda: calls.count() >= 400, what="400 calls")
    assert worker.terminate() == 0
    now = books(redis_7)
    assert now.in_flight == 0
    assert now.unaccounted == 0
    assert calls.count("end") == calls.count() == now.fulfilled
    run_worker(redis_7.url, taking(0.01), "--concurrency", "200", env=calls.env)
    wait_until_all(redis_7, orders)
    assert len(set(calls.ids())) == calls.count() == 2000
    assert {call.attempt for call in calls.all()} == {1}


# --- the end, with orders that don't ------------------------------------------------------------


@pytest.mark.parametrize("source", [HANGS, HANGS_IN_A_THREAD, REFUSES_TO_STOP])
def test_what_outlasts_the_grace_is_requeued_at_no_cost(
    redis_7: RedisServer, run_worker: Start, calls: Calls, source: str
) -> None:
    place(redis_7, bodies(3))
    worker = run_worker(redis_7.url, source, "--shutdown-grace", "200ms", env=calls.env)
    eventually(lambda: calls.count() == 3, what="3 orders running")
    assert worker.terminate() == 0
    now = books(redis_7)
    assert (now.retrying, now.in_flight, now.dead, now.unaccounted) == (3, 0, 0, 0)
    assert order_hash(redis_7, "A-0")["status"] == "retrying"
    assert "error" not in order_hash(redis_7, "A-0")
    run_worker(redis_7.url, taking(0), env=calls.env)
    wait_until_all(redis_7, bodies(3))
    assert {call.attempt for call in calls.all()} == {1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_aborts_at_once(
    redis_7: RedisServer, run_worker: Start, calls: Calls, number: signal.Signals
) -> None:
    place(redis_7, bodies(3))
    worker = run_worker(redis_7.url, HANGS, "--shutdown-grace", "1h", env=calls.env)
    eventually(lambda: calls.count() == 3, what="3 orders running")
    worker.signal(number)
    eventually(lambda: worker.get("/readyz")[0] == 503, what="/readyz 503")
    worker.signal(number)
    assert worker.wait() == 1
    assert "Traceback" not in worker.output
    now = books(redis_7)
    assert (now.retrying, now.in_flight, now.unaccounted) == (3, 0, 0)
    assert order_hash(redis_7, "A-0")["status"] == "retrying"


@pytest.mark.parametrize(
    "source",
    [
        HANGS_IN_A_THREAD,
        REFUSES_TO_STOP,
        NOTE + '\nasync def fulfil(order):\n    note(order, "start")\n    time.sleep(3600)\n',
    ],
)
def test_a_second_signal_ends_the_worker_whatever_its_handler_does(
    redis_7: RedisServer, run_worker: Start, calls: Calls, source: str
) -> None:
    place(redis_7, bodies(1))
    options = ("--lease", "1s", "--shutdown-grace", "1h")
    worker = run_worker(redis_7.url, source, *options, env=calls.env)
    eventually(lambda: calls.count() == 1, what="the order runs")
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGINT)
    assert worker.wait() == 1
    assert "Traceback" not in worker.output
    assert books(redis_7).unaccounted == 0
    run_worker(redis_7.url, FULFIL_ALL, "--lease", "1s")
    wait_for_status(redis_7, "A-0", "fulfilled")


@pytest.mark.parametrize("reachable", [True, False])
def test_an_idle_worker_ends_at_once(
    redis_7: RedisServer, run_worker: Start, reachable: bool
) -> None:
    worker = run_worker(redis_7.url if reachable else f"redis://127.0.0.1:{free_port()}/0")
    if reachable:
        worker.wait_until_ready()
    else:
        worker.wait_for("redis_lost")
    assert worker.terminate() == 0
    assert "Traceback" not in worker.output


# --- wrong usage: exit 2 ------------------------------------------------------------------------


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("options", [(), ("--processes", "2"), ("--queue", "orders,returns")])
def test_sigterm_ends_a_worker_that_holds_nothing_while_redis_is_silent(
    new_redis: Callable[..., RedisServer],
    run_worker: Start,
    options: tuple[str, ...],
    connected: bool,
) -> None:
    """Nothing can be lost, so the grace isn't waited for."""
    server = new_redis()
    if not connected:
        server.pause()
    worker = run_worker(server.url, FULFIL_ALL, "--shutdown-grace", "300s", *options)
    try:
        if connected:
            worker.wait_until_ready()
            server.pause()
        else:
            worker.wait_for("worker_started")
        assert worker.terminate() == 0
    finally:
        server.resume()


def test_sigterm_waits_for_the_grace_while_redis_is_silent_and_an_order_is_held(
    new_redis: Callable[..., RedisServer], run_worker: Start, calls: Calls
) -> None:
    server = new_redis()
    place(server, bodies(1))
    worker = run_worker(server.url, HANGS, "--shutdown-grace", "3s", env=calls.env)
    eventually(lambda: calls.count() == 1, what="the order was begun")
    server.pause()
    try:
        assert worker.terminate() == 1
        [stopped] = worker.events("worker_stopped")
        assert (stopped["ending"], stopped["orders_held"]) == ("stranded", 1)
    finally:
        server.resume()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "FULFILLMENT_HANDLER"),
        (["--handler", "no_such_shop:fulfil"], "no_such_shop"),
        (["--handler", "json:no_such_function"], "no_such_function"),
        (["--handler", "json"], "json"),
        (["--handler", "sys:path"], "sys:path"),
        (["--handler", "broken:fulfil"], "broken"),
        (["--handler", "quits:fulfil"], "quits"),
        (["--handler", "synt:fulfil"], "synt"),
    ],
)
def test_a_handler_that_cannot_be_loaded(
    redis_7: RedisServer, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "quits.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "synt.py").write_text("def fulfil(:\n")
    place(redis_7, bodies(1))
    done = run_cli(
        "run", "--redis-url", redis_7.url, "--metrics-port", "0", *arguments, cwd=tmp_path
    )
    assert done.returncode == 2, done
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert length(redis_7, "orders") == 1


def test_all_faults_of_the_settings_are_told_at_once() -> None:
    env = {
        "FULFILLMENT_CONCURRENCY": "many",
        "FULFILLMENT_LEASE": "10 parsecs",
        "FULFILLMENT_REDIS_URL": "redis://:hunter2@[::1",
        "FULFILLMENT_CONCURENCY": "3",
        "FULFILLMENT_ORDER_TIMEOUT": "-1",
    }
    done = run_cli("run", "--metrics-port", "99999", "--handler", "shop", env=env)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    for source in (*env, "--metrics-port", "--handler"):
        assert sum(source in line for line in lines) >= 1, (source, done.stderr)
    assert "did you mean FULFILLMENT_CONCURRENCY?" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["--no-such-flag"], ["--concurrency"], ["surplus"]], ids=lambda a: a[0]
)
def test_wrong_usage(arguments: list[str]) -> None:
    done = run_cli("run", "--handler", "shop:fulfil", *arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
    assert "Traceback" not in done.stderr


# --- the metrics port: exit 3 -------------------------------------------------------------------


@contextmanager
def taken_port(host: str) -> Iterator[int]:
    with socket.create_server((host, 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize("host", ["", "127.0.0.1"])
def test_a_taken_metrics_port(redis_7: RedisServer, tmp_path: Path, host: str) -> None:
    (tmp_path / "shop.py").write_text(FULFIL_ALL)
    place(redis_7, bodies(1))
    with taken_port(host) as port:
        chosen = ("--metrics-host", host) if host else ()
        done = run_cli(
            *("run", "--redis-url", redis_7.url, "--handler", "shop:fulfil"),
            *("--metrics-port", str(port), *chosen),
            cwd=tmp_path,
        )
    assert done.returncode == 3, done
    output = done.stdout + done.stderr
    assert len(output.splitlines()) == 1, output
    assert str(port) in output
    assert "Traceback" not in output
    assert length(redis_7, "orders") == 1
    with redis_7.client() as client:
        assert client.keys("*") == [b"orders"]


@pytest.mark.parametrize("host", ["192.0.2.1", "worker.invalid"])
def test_a_metrics_host_that_is_no_address_of_this_machine(tmp_path: Path, host: str) -> None:
    (tmp_path / "shop.py").write_text(FULFIL_ALL)
    arguments = ("--handler", "shop:fulfil", "--metrics-host", host, "--metrics-port", "2999")
    done = run_cli("run", *arguments, cwd=tmp_path)
    assert done.returncode == 3, done
    assert len((done.stdout + done.stderr).splitlines()) == 1, done
    assert f"on {host} can't be bound" in done.stderr
    assert "Unknown error" not in done.stderr
    assert "give an address of this machine as --metrics-host" in done.stderr


def test_served_before_anything_is_consumed(redis_7: RedisServer, run_worker: Start) -> None:
    place(redis_7, bodies(1))
    worker = run_worker(redis_7.url)
    wait_for_status(redis_7, "A-0", "fulfilled")
    events = [line["event"] for line in worker.log]
    assert events.index(f"Metrics server starting on port {worker.metrics_port}") == 0
    assert events.index("worker_started") == 1


def test_no_secret_in_the_output(new_redis: Callable[..., RedisServer], run_worker: Start) -> None:
    server = new_redis("redis-7", "--requirepass", "hunter2")
    url = f"redis://:hunter2@127.0.0.1:{server.port}/0"
    worker = run_worker(url, FULFIL_ALL, "--log-level", "debug")
    worker.wait_until_ready()
    assert "hunter2" not in worker.get("/metrics")[1]
    assert worker.terminate() == 0
    assert "hunter2" not in worker.output
