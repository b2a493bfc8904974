"""Watching never hurts, and always works (invariants 6 and 7): probes, scrapes, idle cost."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.support.calls import NOTE, Calls, blocking
from tests.support.eventually import eventually
from tests.support.orders import bodies, books, place, wait_until_all
from tests.support.process import RunningProcess
from tests.support.prometheus import PrometheusServer, program
from tests.support.redis_server import RedisServer, wait_for_status
from tests.support.worker import FULFIL_ALL, RunningWorker

Start = Callable[..., RunningWorker]


def check_that_it_answers(worker: RunningWorker) -> None:
    for path in ("/metrics", "/health"):
        for _ in range(10):
            assert worker.get(path)[0] == 200


# --- handlers that block ------------------------------------------------------------------------


def test_plain_handlers_that_block_for_longer_than_the_lease(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    source = blocking("def", "time.sleep(0.01)")
    worker = run_worker(redis_7.url, source, "--lease", "2s", env=calls.env)
    place(redis_7, bodies(20))
    eventually(lambda: calls.count() == 20, what="20 orders running")
    check_that_it_answers(worker)
    assert worker.scrape()["orders_in_progress"] == 20
    # The heartbeat goes on beside the threads. So does the loop, which ticks 4 times a second.
    lag = "python_asyncio_loop_lag_seconds_count"
    eventually(lambda: worker.scrape()[lag] > 12, what="longer than the lease")
    assert calls.count("end") == 0
    calls.open_gate()
    wait_until_all(redis_7, bodies(20))
    assert worker.get("/livez")[0] == 200
    page = worker.wait_until_fulfilled(20)
    assert page.get_sample("order_failures_total", reason="lease_lost") == 0
    assert page['order_processing_duration_seconds_bucket{le="1.0",status="success"}'] == 0
    assert calls.count() == 20


@pytest.mark.parametrize("wait", ["time.sleep(0.01)", "pass"], ids=["sleeps", "spins"])
def test_an_async_handler_that_blocks_the_loop(
    redis_7: RedisServer, run_worker: Start, calls: Calls, wait: str
) -> None:
    worker = run_worker(redis_7.url, blocking("async def", wait), env=calls.env)
    worker.wait_until_ready()
    assert worker.get("/livez")[0] == 200
    place(redis_7, bodies(1))
    eventually(lambda: calls.count() == 1, what="the order running")
    check_that_it_answers(worker)
    eventually(lambda: worker.get("/livez")[0] == 503, what="/livez 503")
    status, body = worker.get("/readyz")
    assert (status, "stuck" in body) == (503, True)
    check_that_it_answers(worker)
    turned = worker.scrape()["fulfillment_worker_last_loop_timestamp_seconds"]
    assert time.time() - turned > 2
    assert calls.count("end") == 0
    calls.open_gate()
    eventually(lambda: worker.get("/livez")[0] == 200, what="/livez 200 again")
    wait_for_status(redis_7, "A-0", "fulfilled")
    eventually(lambda: worker.get("/readyz")[0] == 200, what="/readyz 200 again")
    page = worker.wait_until_fulfilled(1)
    assert page.get_sample("order_failures_total", reason="lease_lost") == 0
    assert (
        page['python_asyncio_loop_lag_seconds_bucket{le="+Inf"}']
        > (page['python_asyncio_loop_lag_seconds_bucket{le="1.0"}'])
    )
    assert calls.count() == 1
    assert books(redis_7).unaccounted == 0


def test_many_handlers_that_each_block_the_loop_for_less_than_the_lease(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    # Twice the lease in all, so the worker must be heard between them.
    source = (
        NOTE
        + """
async def fulfil(order):
    note(order, "start")
    time.sleep(0.9 if order.id.endswith("0") else 0.1)
"""
    )
    orders = bodies(50)
    place(redis_7, orders)
    worker = run_worker(redis_7.url, source, "--lease", "4s", env=calls.env)
    wait_until_all(redis_7, orders)
    assert calls.count() == len(orders)
    assert worker.scrape().get_sample("order_failures_total", reason="lease_lost") == 0


# --- what is served -----------------------------------------------------------------------------

# What the contract promises, as Prometheus stores it.
SERIES = [
    'orders_processed_total{status="success"}',
    'orders_processed_total{status="error"}',
    'order_processing_duration_seconds_bucket{status="success",le="0.005"}',
    'order_processing_duration_seconds_bucket{status="error",le="10.0"}',
    'order_processing_duration_seconds_bucket{status="error",le="+Inf"}',
    'order_processing_duration_seconds_count{status="success"}',
    'order_processing_duration_seconds_count{status="error"}',
    'order_processing_duration_seconds_sum{status="success"}',
    'order_processing_duration_seconds_sum{status="error"}',
    "fulfillment_queue_depth",
    "orders_received_total",
    "orders_in_progress",
    "fulfillment_worker_slots",
    "order_queue_wait_seconds_count",
    "order_end_to_end_duration_seconds_count",
    'order_failures_total{reason="invalid"}',
    'order_failures_total{reason="timeout"}',
    'order_failures_total{reason="handler"}',
    'order_failures_total{reason="rejected"}',
    'order_failures_total{reason="dependency"}',
    'order_failures_total{reason="lease_lost"}',
    'order_failures_total{reason="internal"}',
    "order_retries_total",
    "orders_recovered_total",
    "orders_requeued_total",
    "orders_duplicate_total",
    'orders_dead_lettered_total{reason="invalid"}',
    'orders_dead_lettered_total{reason="rejected"}',
    'orders_dead_lettered_total{reason="attempts_exhausted"}',
    'orders_dead_lettered_total{reason="orphaned"}',
    "fulfillment_in_flight_depth",
    "fulfillment_retry_depth",
    "fulfillment_dead_letter_depth",
    "fulfillment_queue_oldest_order_timestamp_seconds",
    "fulfillment_queue_sample_timestamp_seconds",
    "orders_unaccounted",
    'order_last_processed_timestamp_seconds{status="success"}',
    'order_last_processed_timestamp_seconds{status="error"}',
    "fulfillment_worker_last_loop_timestamp_seconds",
    'fulfillment_worker_state{state="starting"}',
    'fulfillment_worker_state{state="consuming"}',
    'fulfillment_worker_state{state="draining"}',
    'fulfillment_redis_commands_total{operation="exchange",outcome="ok"}',
    'fulfillment_redis_commands_total{operation="exchange",outcome="error"}',
    'fulfillment_redis_commands_total{operation="wait",outcome="ok"}',
    'fulfillment_redis_commands_total{operation="wait",outcome="error"}',
    'fulfillment_redis_command_duration_seconds_count{operation="exchange"}',
    'fulfillment_log_messages_total{level="warning"}',
    'fulfillment_log_messages_total{level="error"}',
    "fulfillment_build_info",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
    "python_info",
    "python_gc_objects_collected_total",
    "python_gc_objects_uncollectable_total",
    "python_gc_collections_total",
    "process_threads",
    "python_threads",
    "python_asyncio_tasks",
    "python_allocated_blocks",
    'python_gc_pause_seconds_count{generation="2"}',
    'process_context_switches_total{type="voluntary"}',
    'process_context_switches_total{type="involuntary"}',
    "python_asyncio_loop_lag_seconds_count",
]

BUCKETS = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0"]

ZERO_AT_FIRST = ("orders_", "order_", "fulfillment_dead_letter_depth", "fulfillment_retry_depth")
NOT_ZERO = ("fulfillment_redis_commands_total", "fulfillment_queue_oldest_order")


def test_a_real_prometheus_has_every_series(
    redis_7: RedisServer,
    run_worker: Start,
    run_prometheus: Callable[..., PrometheusServer],
) -> None:
    worker = run_worker(redis_7.url, FULFIL_ALL, "--concurrency", "7", "--lease", "1s")
    worker.wait_until_ready()
    prometheus = run_prometheus([f"127.0.0.1:{worker.metrics_port}"])
    prometheus.wait_for_scrape()

    def all_are_there() -> bool:
        """In one scrape: another may have failed on a busy machine, and all are stale then."""
        missing = [each for each in SERIES if not prometheus.query(each)]
        assert not missing
        for each in SERIES:
            if each.startswith(ZERO_AT_FIRST):
                assert {sample.value for sample in prometheus.query(each)} == {0}, each
        return True

    eventually(all_are_there, what="every series")
    found = prometheus.query('order_processing_duration_seconds_bucket{status="error"}')
    assert {sample.labels["le"] for sample in found} == {*BUCKETS, "+Inf"}
    assert prometheus.value("fulfillment_worker_slots") == 7
    assert prometheus.value("up") == 1
    assert prometheus.query('{__name__=~".+_created"}') == []
    assert prometheus.query('{__name__=~"order.*|fulfillment.*", queue!=""}') == []

    place(redis_7, bodies(5))
    place(redis_7, [{"no": "id"}])
    wait_until_all(redis_7, bodies(5))
    eventually(
        lambda: prometheus.value('orders_processed_total{status="success"}') == 5,
        what="Prometheus sees 5 fulfilled",
    )

    def comes_to(expression: str, value: float) -> None:
        eventually(
            lambda: prometheus.value(expression) == value, what=f"{expression} comes to {value}"
        )

    # Born at 0, so that the first increase counts. Each may come with another scrape.
    comes_to('increase(orders_processed_total{status="success"}[5m]) > bool 0', 1)
    comes_to('order_failures_total{reason="invalid"}', 1)
    comes_to("fulfillment_dead_letter_depth", 1)
    comes_to("orders_unaccounted", 0)
    state = prometheus.query("fulfillment_worker_state == 1")
    assert [sample.labels["state"] for sample in state] == ["consuming"]


@pytest.mark.parametrize("queues", ["orders", "rush,orders"])
def test_promtool_has_nothing_to_say(redis_7: RedisServer, run_worker: Start, queues: str) -> None:
    worker = run_worker(redis_7.url, FULFIL_ALL, "--queue", queues, "--lease", "1s")
    place(redis_7, bodies(5))
    place(redis_7, [{"no": "id"}])
    wait_until_all(redis_7, bodies(5))
    page = worker.get("/metrics")[1]
    done = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_depths_are_told_while_orders_wait(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    source = (
        NOTE + '\nasync def fulfil(order):\n    note(order, "start")\n    await asyncio.sleep(60)\n'
    )
    began = time.time()
    place(redis_7, bodies(10))
    worker = run_worker(redis_7.url, source, "--concurrency", "4", env=calls.env)

    def told() -> bool:
        page = worker.scrape()
        assert page["fulfillment_queue_depth"] == 6
        assert page["fulfillment_in_flight_depth"] == 4
        return True

    eventually(told, what="6 waiting, 4 in flight")
    page = worker.scrape()
    assert page["orders_in_progress"] == 4
    assert began - 1 < page["fulfillment_queue_oldest_order_timestamp_seconds"] < time.time()
    sampled = page["fulfillment_queue_sample_timestamp_seconds"]
    place(redis_7, bodies(10, "B"))
    eventually(lambda: worker.scrape()["fulfillment_queue_depth"] == 16, what="16 waiting")
    assert worker.scrape()["fulfillment_queue_sample_timestamp_seconds"] > sampled

    def age() -> float:
        again = worker.scrape()
        oldest = again["fulfillment_queue_oldest_order_timestamp_seconds"]
        assert began - 1 < oldest
        return again["fulfillment_queue_sample_timestamp_seconds"] - oldest

    # Nothing has moved at the head, so its age goes on growing: past what a new head could have.
    eventually(lambda: age() > 3, what="the age of the oldest order grows")


def test_the_backlog_is_old_where_its_orders_say_so(
    redis_7: RedisServer, run_worker: Start
) -> None:
    hour_ago = time.time() - 3600
    orders = [{"order_id": f"A-{n}", "enqueued_at": hour_ago + n} for n in range(5)]
    with redis_7.client() as client:
        client.hset("{orders}:books", "paused", 1)
    place(redis_7, orders)
    worker = run_worker(redis_7.url)
    oldest = "fulfillment_queue_oldest_order_timestamp_seconds"
    eventually(lambda: abs(worker.scrape()[oldest] - hour_ago) < 1, what="an hour old")
    with redis_7.client() as client:
        client.hdel("{orders}:books", "paused")
    wait_until_all(redis_7, orders)
    ended = "order_end_to_end_duration_seconds_count"
    eventually(lambda: worker.scrape()[ended] == 5, what="the worker knows it, too")
    page = worker.scrape()
    assert page["order_queue_wait_seconds_count"] == 5
    assert page['order_queue_wait_seconds_bucket{le="900.0"}'] == 0
    assert page["order_end_to_end_duration_seconds_sum"] / 5 > 3500


# --- a hostile crowd -----------------------------------------------------------------------------

NEEDS_FILES = (
    NOTE
    + """
async def fulfil(order):
    files = [open(os.devnull) for _ in range(10)]
    await asyncio.sleep(0.02)
    for file in files:
        file.close()
    note(order, "end")
"""
)


@contextmanager
def descriptors(many: int) -> Iterator[None]:
    """What is started within may have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (many, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_hostile_clients_keep_nobody_out_and_cost_no_order(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    options = ("--concurrency", "10", "--max-attempts", "1")
    with descriptors(256):
        worker = run_worker(redis_7.url, NEEDS_FILES, *options, env=calls.env)
    worker.wait_until_ready()
    before = psutil.Process(worker.pid).memory_info().rss
    crowd = [sys.executable, "-m", "tests.support.crowd", str(worker.metrics_port), "1000"]
    with RunningProcess(crowd) as hostile:
        hostile.wait_for("the crowd is there")
        orders = bodies(1500)
        place(redis_7, orders)
        most = 0
        while calls.count("end") < 1500:
            # How soon each answer comes: `python -m benchmarks.crowd`.
            assert worker.get("/metrics")[0] == 200
            most = max(most, psutil.Process(worker.pid).memory_info().rss)
        assert hostile.returncode is None
    assert most - before < 64 * 2**20
    # Each handler's ten files were always to be had, and Redis never out of reach.
    wait_until_all(redis_7, orders)
    page = worker.scrape()
    assert page.get_sample("orders_processed_total", status="error") == 0
    assert worker.events("redis_lost") == []
    assert worker.terminate() == 0


# --- what watching and waiting cost -------------------------------------------------------------


def test_an_idle_worker_costs_redis_a_command_a_second_and_a_scrape_none(
    valkey_9: RedisServer, redis_7: RedisServer, run_worker: Start
) -> None:
    servers = (valkey_9, redis_7)
    watched = {server: [run_worker(server.url) for _ in range(2)] for server in servers}
    alone = run_worker(redis_7.url)
    for worker in (*watched[valkey_9], *watched[redis_7], alone):
        worker.wait_until_ready()
    for server in servers:
        place(server, bodies(10))
        wait_until_all(server, bodies(10))
    wait_until_settled(*watched[valkey_9], *watched[redis_7], alone)
    for server in servers:
        with server.client() as client:
            client.config_resetstat()
    began = time.monotonic()
    for _ in range(40):
        for worker in (*watched[valkey_9], *watched[redis_7]):
            assert worker.scrape()["orders_unaccounted"] == 0
    eventually(lambda: time.monotonic() - began > 13, what="longer than the longest idle wait")
    seconds = time.monotonic() - began
    for server, workers in ((valkey_9, 2), (redis_7, 3)):
        called = {
            name: many
            for name, many in server.commands().items()
            if name not in ("info", "config", "config|resetstat")
        }
        # What a function calls is counted as well, but is not sent.
        exchanges = called.get("fcall", 0)
        sent = exchanges + called.get("blmove", 0)
        # An exchange that falls into the window by chance is one more second's worth.
        assert sent <= workers * (seconds + 1), (server.version, called)
        assert sum(called.values()) <= 40 * (exchanges + 1), (server.version, called)


def wait_until_settled(*workers: RunningWorker) -> None:
    """Those that had orders survey the queue once more when all are done."""
    done = time.time()

    def all_have() -> bool:
        pages = [worker.scrape() for worker in workers]
        return all(
            page["orders_received_total"] == 0
            or page["fulfillment_queue_sample_timestamp_seconds"] >= done
            for page in pages
        )

    eventually(all_have)


def cpu_seconds(worker: RunningWorker) -> float:
    times = psutil.Process(worker.pid).cpu_times()
    return float(times.user + times.system)
