"""Many workers on one queue: each order has one owner (invariant 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.support.calls import NOTE, Calls, taking
from tests.support.eventually import eventually
from tests.support.orders import bodies, books, in_flight, place, wait_until_all
from tests.support.redis_server import RedisServer, wait_for_status
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]

NOTES = NOTE + '\nasync def fulfil(order):\n    note(order, "start")\n'


def total(workers: list[RunningWorker], name: str, **labels: str) -> float:
    return sum(worker.scrape().get_sample(name, **labels) for worker in workers)


def start_all(
    run_worker: Start, server: RedisServer, source: str, many: int, *options: str, calls: Calls
) -> list[RunningWorker]:
    workers = [run_worker(server.url, source, *options, env=calls.env) for _ in range(many)]
    for worker in workers:
        worker.wait_until_ready()
    return workers


def test_four_workers_share_five_thousand_orders(
    redis_server: RedisServer, run_worker: Start, calls: Calls
) -> None:
    workers = start_all(run_worker, redis_server, taking(0.005), 4, calls=calls)
    orders = bodies(5000)
    place(redis_server, orders)
    wait_until_all(redis_server, orders)
    times = Counter(calls.ids())
    assert len(times) == 5000
    assert set(times.values()) == {1}
    assert len({call.pid for call in calls.all()}) == 4
    eventually(lambda: total(workers, "orders_processed_total", status="success") == 5000)
    assert total(workers, "orders_processed_total", status="error") == 0
    assert total(workers, "order_processing_duration_seconds_count", status="success") == 5000
    assert total(workers, "orders_received_total") == 5000
    assert total(workers, "orders_duplicate_total") == 0
    now = books(redis_server)
    assert (now.received, now.fulfilled, now.unaccounted) == (5000, 5000, 0)
    assert [worker.terminate() for worker in workers] == [0] * 4
    assert in_flight(redis_server) == {}


def test_workers_that_come_and_go(redis_7: RedisServer, run_worker: Start, calls: Calls) -> None:
    orders = bodies(2000)
    place(redis_7, orders)
    options = ("--concurrency", "20", "--lease", "1h")
    workers = start_all(run_worker, redis_7, taking(0.02), 2, *options, calls=calls)
    for many in (300, 700, 1100):
        eventually(lambda many=many: calls.count() >= many, what=f"{many} calls")  # type: ignore[misc]
        leaving = workers.pop(0)
        workers += start_all(run_worker, redis_7, taking(0.02), 1, *options, calls=calls)
        assert leaving.terminate() == 0
    wait_until_all(redis_7, orders)
    assert set(Counter(calls.ids()).values()) == {1}
    assert len(calls.ids()) == 2000
    now = books(redis_7)
    assert (now.received, now.fulfilled, now.unaccounted) == (2000, 2000, 0)


def test_one_order_wakes_one_of_twenty_idle_workers(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    workers = start_all(run_worker, redis_7, NOTES, 20, calls=calls)
    with redis_7.client() as client:
        eventually(lambda: int(client.info("clients")["blocked_clients"]) == 20, what="all idle")
        client.config_resetstat()
        place(redis_7, bodies(1))
        wait_for_status(redis_7, "A-0", "fulfilled")
        sent = redis_7.commands()
    assert calls.ids() == ["A-0"]
    assert total(workers, "orders_received_total") == 1
    eventually(lambda: total(workers, "orders_processed_total", status="success") == 1)
    # No stampede: the exchanges of the one that was woken, and the odd heartbeat of another.
    assert sent["fcall"] <= 8, sent
    assert sent.get("blmove", 0) <= 4, sent


def test_orders_one_by_one_go_to_idle_workers(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    workers = start_all(run_worker, redis_7, NOTES, 5, calls=calls)
    for number in range(50):
        place(redis_7, bodies(1, f"one-{number}"))
        wait_for_status(redis_7, f"one-{number}-0", "fulfilled")
    assert calls.count() == 50
    assert total(workers, "orders_received_total") == 50


def test_slow_orders_spread_over_idle_workers(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    # Each worker has room for one, so that five must run at the same time in five workers.
    source = (
        NOTE
        + """
async def fulfil(order):
    note(order, "start")
    while len(open(os.environ["CALLS"]).readlines()) < 5:
        await asyncio.sleep(0.01)
"""
    )
    workers = start_all(run_worker, redis_7, source, 5, "--concurrency", "1", calls=calls)
    place(redis_7, bodies(5))
    wait_until_all(redis_7, bodies(5))
    assert len({call.pid for call in calls.all()}) == 5
    assert total(workers, "orders_received_total") == 5
