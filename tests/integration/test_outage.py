"""Redis goes away, forgets, refuses or falls silent: nothing exits, and nothing is lost."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.support.calls import NOTE, Calls, taking
from tests.support.eventually import eventually
from tests.support.orders import bodies, books, dead_letters, place, wait_until_all
from tests.support.process import run_cli
from tests.support.redis_server import RedisServer, length, wait_for_status
from tests.support.refusing import DENIED, refusing, reset
from tests.support.worker import FULFIL_ALL, RunningWorker

Start = Callable[..., RunningWorker]
NewRedis = Callable[..., RedisServer]

TWENTY = ("--concurrency", "20")


def wait_for_readyz(worker: RunningWorker, status: int, says: str = "") -> None:
    def answers() -> bool:
        found, body = worker.get("/readyz")
        assert found == status, body
        assert says in body, body
        return True

    eventually(answers, what=f"/readyz {status} {says}")


def check_each_once(server: RedisServer, calls: Calls, many: int) -> None:
    """Every order was handled exactly once, and the books balance."""
    times = Counter(calls.ids())
    assert len(times) == many
    assert {order_id: n for order_id, n in times.items() if n > 1} == {}
    now = books(server)
    assert (now.received, now.fulfilled, now.dead, now.duplicates) == (many, many, 0, 0)
    assert (now.in_flight, now.retrying, now.unaccounted) == (0, 0, 0)


# --- away ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["valkey-9", "redis-7"])
def test_a_redis_that_is_killed_and_comes_back(
    new_redis: NewRedis, run_worker: Start, calls: Calls, version: str
) -> None:
    server = new_redis(version, "--appendfsync", "always", persistent=True)
    orders = bodies(1000)
    place(server, orders)
    worker = run_worker(server.url, taking(0.02), *TWENTY, env=calls.env)
    eventually(lambda: calls.count() >= 200, what="200 calls")
    server.kill()
    wait_for_readyz(worker, 503, "can't be reached")
    assert worker.get("/livez")[0] == 200
    assert worker.get("/health")[0] == 200
    eventually(lambda: calls.count("end") == calls.count(), what="the running orders ended")
    ended = calls.count("end")
    # Long enough for the pauses between attempts to have grown to their longest.
    eventually(lambda: errors(worker) >= 6, what="6 attempts to reach it")
    assert calls.count("end") == ended
    server.start()
    wait_for_readyz(worker, 200)
    eventually(lambda: calls.count() > ended, what="claiming goes on")
    wait_until_all(server, orders)
    check_each_once(server, calls, 1000)
    page = worker.wait_until_fulfilled(1000)
    assert page.get_sample("orders_processed_total", status="error") == 0
    assert page["orders_received_total"] == 1000
    assert len(worker.events("redis_lost")) >= 1
    assert worker.terminate() == 0


def errors(worker: RunningWorker) -> float:
    page = worker.scrape()
    return sum(
        value
        for name, value in page.items()
        if name.startswith("fulfillment_redis_commands_total") and 'outcome="error"' in name
    )


def test_several_outages_while_orders_run(
    new_redis: NewRedis, run_worker: Start, calls: Calls
) -> None:
    server = new_redis("redis-7", "--appendfsync", "always", persistent=True)
    orders = bodies(1500)
    place(server, orders)
    worker = run_worker(server.url, taking(0.02), *TWENTY, env=calls.env)
    for many in (200, 500, 800, 1100):
        eventually(lambda many=many: calls.count() >= many, what=f"{many} calls")  # type: ignore[misc]
        server.kill()
        server.start()
    wait_until_all(server, orders)
    check_each_once(server, calls, 1500)
    assert worker.terminate() == 0


def test_a_result_that_waits_out_an_outage_is_delivered(
    new_redis: NewRedis, run_worker: Start, calls: Calls
) -> None:
    server = new_redis("redis-7", "--appendfsync", "always", persistent=True)
    place(server, bodies(3))
    worker = run_worker(server.url, taking(0.5), env=calls.env)
    eventually(lambda: calls.count() == 3, what="3 orders running")
    server.kill()
    eventually(lambda: calls.count("end") == 3, what="their end")
    server.start()
    wait_until_all(server, bodies(3))
    check_each_once(server, calls, 3)
    worker.wait_until_fulfilled(3)


@pytest.mark.parametrize("version", ["valkey-9", "redis-7"])
def test_an_outage_that_outlasts_the_lease(
    new_redis: NewRedis, run_worker: Start, calls: Calls, version: str
) -> None:
    """It was Redis that was silent: the worker keeps its orders, and none is orphaned."""
    server = new_redis(version, "--appendfsync", "always", persistent=True)
    orders = bodies(200)
    place(server, orders)
    options = (*TWENTY, "--lease", "2s")
    worker = run_worker(server.url, taking(0.02), *options, env=calls.env)
    eventually(lambda: calls.count() >= 100, what="100 calls")
    server.kill()
    over = time.monotonic() + 2.5
    eventually(lambda: time.monotonic() > over, what="longer than the lease")
    server.start()
    wait_until_all(server, orders)
    check_each_once(server, calls, 200)
    page = worker.scrape()
    assert page.get_sample("orders_recovered_total", reason="lease") == 0
    assert page.get_sample("order_failures_total", reason="lease_lost") == 0


def test_a_worker_that_died_in_an_outage_is_found_out(
    new_redis: NewRedis, run_worker: Start, calls: Calls
) -> None:
    """Its lease is given a new term as well, and runs out."""
    server = new_redis("redis-7", "--appendfsync", "always", persistent=True)
    place(server, bodies(3))
    lease = ("--lease", "1s")
    hang = (
        NOTE + "async def fulfil(order):\n    note(order, 'start')\n    await asyncio.sleep(60)\n"
    )
    doomed = run_worker(server.url, hang, *lease, env=calls.env)
    eventually(lambda: calls.count() == 3, what="3 orders running")
    server.kill()
    doomed.kill()
    server.start()
    run_worker(server.url, FULFIL_ALL, *lease)
    wait_until_all(server, bodies(3))
    now = books(server)
    assert (now.received, now.fulfilled, now.unaccounted) == (3, 3, 0)


def test_a_worker_that_starts_before_its_redis(new_redis: NewRedis, run_worker: Start) -> None:
    server = new_redis("redis-7", persistent=True)
    place(server, bodies(3))
    server.stop()
    worker = run_worker(server.url)
    wait_for_readyz(worker, 503, "can't be reached")
    assert worker.returncode is None
    server.start()
    wait_until_all(server, bodies(3))
    wait_for_readyz(worker, 200)


def test_a_drain_while_redis_is_away(new_redis: NewRedis, run_worker: Start, calls: Calls) -> None:
    server = new_redis("redis-7", "--appendfsync", "always", persistent=True)
    place(server, bodies(5))
    worker = run_worker(server.url, taking(0.3), "--shutdown-grace", "1h", env=calls.env)
    eventually(lambda: calls.count() == 5, what="5 orders running")
    server.kill()
    eventually(lambda: calls.count("end") == 5, what="their end")
    worker.signal(signal.SIGTERM)
    wait_for_readyz(worker, 503, "draining")
    server.start()
    assert worker.wait() == 0
    check_each_once(server, calls, 5)


def test_a_redis_that_stays_away_does_not_keep_a_worker_from_ending(
    new_redis: NewRedis, run_worker: Start, calls: Calls
) -> None:
    server = new_redis("redis-7", "--appendfsync", "always", persistent=True)
    place(server, bodies(5))
    options = ("--shutdown-grace", "500ms", "--lease", "1s")
    worker = run_worker(server.url, taking(0.3), *options, env=calls.env)
    eventually(lambda: calls.count() == 5, what="5 orders running")
    server.kill()
    assert worker.terminate() == 1
    assert "Traceback" not in worker.output
    server.start()
    run_worker(server.url, taking(0), *options, env=calls.env)
    wait_until_all(server, bodies(5))
    assert books(server).unaccounted == 0


# --- forgetful, rude and slow -------------------------------------------------------------------


def repeatedly(
    server: RedisServer, calls: Calls, until: int, disturb: Callable[[Any], object]
) -> int:
    """Disturb the server at each further fiftieth order, until so many calls."""
    times = 0
    with server.client() as client:
        for many in range(50, until, 50):
            eventually(lambda many=many: calls.count() >= many, what=f"{many} calls")  # type: ignore[misc]
            disturb(client)
            times += 1
    return times


def test_functions_that_are_flushed_are_loaded_again(
    redis_server: RedisServer, run_worker: Start, calls: Calls
) -> None:
    orders = bodies(1000)
    place(redis_server, orders)
    worker = run_worker(redis_server.url, taking(0.01), *TWENTY, env=calls.env)
    assert repeatedly(redis_server, calls, 900, lambda client: client.function_flush("SYNC")) > 10
    wait_until_all(redis_server, orders)
    check_each_once(redis_server, calls, 1000)
    assert worker.events("redis_lost") == []
    assert worker.get("/readyz")[0] == 200


def test_connections_that_are_cut(redis_7: RedisServer, run_worker: Start, calls: Calls) -> None:
    orders = bodies(1500)
    place(redis_7, orders)
    workers = [
        run_worker(redis_7.url, taking(0.02), "--concurrency", "15", env=calls.env)
        for _ in range(2)
    ]

    def cut(client: Any) -> None:
        client.client_kill_filter(_type="normal", skipme=True)

    def opened() -> int:
        with redis_7.client() as client:
            return int(client.info("stats")["total_connections_received"])

    def succeeded() -> bool:
        pages = [worker.scrape() for worker in workers]
        many = sum(p.get_sample("orders_processed_total", status="success") for p in pages)
        assert many == 1500, many
        return sum(page["orders_received_total"] for page in pages) == 1500

    before = opened()
    assert repeatedly(redis_7, calls, 1400, cut) > 20
    wait_until_all(redis_7, orders)
    check_each_once(redis_7, calls, 1500)
    eventually(succeeded, what="1500 successes counted")
    assert opened() - before > 20, "the workers' connections were cut, and opened anew"
    assert [worker.terminate() for worker in workers] == [0, 0]


def test_idle_connections_that_are_cut(redis_7: RedisServer, run_worker: Start) -> None:
    worker = run_worker(redis_7.url)
    worker.wait_until_ready()
    with redis_7.client() as client:
        for number in range(5):
            client.client_kill_filter(_type="normal", skipme=True)
            place(redis_7, bodies(1, f"cut-{number}"))
            wait_for_status(redis_7, f"cut-{number}-0", "fulfilled")
    wait_for_readyz(worker, 200)
    assert books(redis_7).unaccounted == 0


def test_a_redis_that_falls_silent(redis_7: RedisServer, run_worker: Start, calls: Calls) -> None:
    orders = bodies(600)
    place(redis_7, orders)
    worker = run_worker(redis_7.url, taking(0.02), *TWENTY, env=calls.env)
    eventually(lambda: calls.count() >= 100, what="100 calls")
    with redis_7.client() as client:
        client.execute_command("CLIENT", "PAUSE", "3000", "ALL")
    wait_for_readyz(worker, 503, "does not answer")
    wait_for_readyz(worker, 200)
    wait_until_all(redis_7, orders)
    check_each_once(redis_7, calls, 600)
    assert worker.terminate() == 0


# --- refusing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["valkey-9", "redis-7"])
def test_a_queue_that_is_no_list(new_redis: NewRedis, run_worker: Start, version: str) -> None:
    server = new_redis(version)
    with server.client() as client:
        client.set("orders", "a string")
        worker = run_worker(server.url)
        wait_for_readyz(worker, 503, "`fulfillment-worker doctor` names it")
        for command in (("queue",), ("enqueue", "--sample", "1")):
            done = run_cli(*command, "--redis-url", server.url)
            assert done.returncode == 1
            assert "`fulfillment-worker doctor` names it" in done.stderr
        client.delete("orders")
    place(server, bodies(1))
    wait_until_all(server, bodies(1))
    assert worker.terminate() == 0


def test_a_redis_that_is_full(new_redis: NewRedis, run_worker: Start, calls: Calls) -> None:
    server = new_redis()
    orders = bodies(300)
    place(server, orders)
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        worker = run_worker(server.url, taking(0.01), *TWENTY, env=calls.env)
        wait_for_readyz(worker, 503, "out of memory")
        eventually(
            lambda: any("out of memory" in told["error"] for told in worker.events("redis_lost")),
            what="the log says so",
        )
        client.config_set("maxmemory", "0")
        wait_for_readyz(worker, 200)
    wait_until_all(server, orders)
    check_each_once(server, calls, 300)


def test_a_redis_that_fills_up_while_orders_run(
    new_redis: NewRedis, run_worker: Start, calls: Calls
) -> None:
    server = new_redis()
    orders = bodies(600)
    place(server, orders)
    worker = run_worker(server.url, taking(0.02), *TWENTY, env=calls.env)
    eventually(lambda: calls.count() >= 100, what="100 calls")
    with server.client() as client:
        for many in (150, 250, 350):
            client.config_set("maxmemory", "1")
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                client.lpush("orders", "{}")
            client.config_set("maxmemory", "0")
            eventually(lambda many=many: calls.count() >= many, what=f"{many} calls")  # type: ignore[misc]
    wait_until_all(server, orders)
    check_each_once(server, calls, 600)
    assert worker.returncode is None


def test_a_password_that_was_changed(new_redis: NewRedis, run_worker: Start) -> None:
    server = new_redis("redis-7", "--requirepass", "hunter2")
    url = f"redis://:hunter2@127.0.0.1:{server.port}/0"
    with redis.Redis.from_url(url) as client:
        worker = run_worker(url)
        worker.wait_until_ready()
        client.config_set("requirepass", "rotated")
        client.client_kill_filter(_type="normal", skipme=True)
        wait_for_readyz(worker, 503, "password")
        client.lpush("orders", '{"order_id": "A-0"}')
        assert worker.returncode is None
        client.config_set("requirepass", "hunter2")
        eventually(
            lambda: client.hget("{orders}:order:A-0", "status") == b"fulfilled",
            what="the order fulfilled",
        )
    wait_for_readyz(worker, 200)
    assert "hunter2" not in worker.output
    assert "rotated" not in worker.output


def test_protected_mode_is_named_by_all_and_logged_once(run_worker: Start) -> None:
    """The server says it to each connection and hangs up, which may be seen as a reset."""
    with refusing(DENIED, reset) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        worker = run_worker(url)
        wait_for_readyz(worker, 503, "protected mode")
        tried = len(server.refused)
        eventually(lambda: len(server.refused) >= tried + 5, what="five more attempts")
        (told,) = worker.events("redis_lost")
        assert "is in protected mode" in told["error"]
        for command in ("queue", "doctor"):
            done = run_cli(command, "--redis-url", url)
            assert done.returncode == 1
            assert "is in protected mode" in done.stdout + done.stderr


def test_a_user_without_the_permissions(new_redis: NewRedis, run_worker: Start) -> None:
    server = new_redis()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "shop", "on", ">pw", "~*", "+@all", "-fcall")
    worker = run_worker(f"redis://shop:pw@127.0.0.1:{server.port}/0")
    wait_for_readyz(worker, 503, "permit")
    place(server, bodies(1))
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "shop", "+@all")
    wait_for_status(server, "A-0", "fulfilled")


def test_a_replica_is_not_written_to(new_redis: NewRedis, run_worker: Start) -> None:
    primary = new_redis("redis-7", "--repl-diskless-sync-delay", "0")
    replica = new_redis("redis-7", "--replicaof", "127.0.0.1", str(primary.port))
    worker = run_worker(replica.url)
    wait_for_readyz(worker, 503, "read-only")
    place(primary, bodies(1))
    with replica.client() as client:
        eventually(lambda: client.llen("orders") == 1, what="replicated")
        client.execute_command("REPLICAOF", "NO", "ONE")
    wait_for_status(replica, "A-0", "fulfilled")


# --- paused by an operator ----------------------------------------------------------------------


def test_a_paused_queue_is_left_alone(redis_7: RedisServer, run_worker: Start) -> None:
    with redis_7.client() as client:
        client.hset("{orders}:books", "paused", 1)
    worker = run_worker(redis_7.url, FULFIL_ALL, "--lease", "1s")
    worker.wait_until_ready()
    place(redis_7, bodies(3))
    eventually(lambda: worker.scrape()["fulfillment_queue_depth"] == 3, what="depth 3")
    assert worker.scrape()["orders_received_total"] == 0
    assert length(redis_7, "orders") + length(redis_7, "{orders}:woken") == 3
    with redis_7.client() as client:
        client.hdel("{orders}:books", "paused")
    wait_until_all(redis_7, bodies(3))


def test_a_queue_that_is_paused_while_its_workers_are_idle(
    redis_7: RedisServer, run_worker: Start
) -> None:
    workers = [run_worker(redis_7.url) for _ in range(2)]
    for worker in workers:
        worker.wait_until_ready()
    with redis_7.client() as client:
        client.hset("{orders}:books", "paused", 1)
    place(redis_7, bodies(5))
    eventually(
        lambda: max(worker.scrape()["fulfillment_queue_depth"] for worker in workers) == 5,
        what="a worker saw 5 waiting",
    )
    eventually(lambda: length(redis_7, "orders") == 5, what="all back on the list")
    assert [worker.scrape()["orders_received_total"] for worker in workers] == [0, 0]
    with redis_7.client() as client:
        client.hdel("{orders}:books", "paused")
    wait_until_all(redis_7, bodies(5))
    assert dead_letters(redis_7) == []


def test_orders_that_run_go_on_while_the_queue_is_paused(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    place(redis_7, bodies(10))
    source = (
        NOTE + '\nasync def fulfil(order):\n    note(order, "start")\n    await asyncio.sleep(1)\n'
    )
    options = ("--concurrency", "4", "--lease", "3s")
    worker = run_worker(redis_7.url, source, *options, env=calls.env)
    eventually(lambda: calls.count() == 4, what="4 orders running")
    with redis_7.client() as client:
        client.hset("{orders}:books", "paused", 1)
    wait_until_all(redis_7, bodies(4))
    eventually(lambda: worker.scrape()["fulfillment_in_flight_depth"] == 0)
    assert calls.count() == 4
    assert length(redis_7, "orders") == 6
    assert books(redis_7).unaccounted == 0
