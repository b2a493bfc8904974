"""One worker for many queues: they share two connections, whatever happens to these."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.eventually import eventually
from tests.support.orders import bodies, place, wait_until_all
from tests.support.redis_server import RedisServer
from tests.support.worker import FULFIL_ALL, RunningWorker

Start = Callable[..., RunningWorker]
QUEUES = [f"queue-{number}" for number in range(12)]


def connections(server: RedisServer) -> int:
    """How many the worker has."""
    with server.client() as client:
        return sum(each["name"] == "fulfillment-worker" for each in client.client_list())


def settled(server: RedisServer, worker: RunningWorker) -> None:
    """Return when the worker is ready, and waits for orders."""
    worker.wait_until_ready()
    eventually(lambda: connections(server) == 2, what="two connections")


def test_many_queues_share_two_connections(redis_7: RedisServer, run_worker: Start) -> None:
    worker = run_worker(redis_7.url, FULFIL_ALL, "--queue", ",".join(QUEUES))
    settled(redis_7, worker)
    for turn in range(2):
        for queue in QUEUES:
            orders = bodies(3, prefix=f"{queue}-{turn}")
            place(redis_7, orders, queue)
            wait_until_all(redis_7, orders, queue=queue)
    assert connections(redis_7) == 2
    assert worker.terminate() == 0


def test_lost_connections_of_many_queues_are_made_again(
    redis_7: RedisServer, run_worker: Start
) -> None:
    worker = run_worker(redis_7.url, FULFIL_ALL, "--queue", ",".join(QUEUES))
    settled(redis_7, worker)
    with redis_7.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    for queue in QUEUES:
        orders = bodies(2, prefix=queue)
        place(redis_7, orders, queue)
        wait_until_all(redis_7, orders, queue=queue)
    settled(redis_7, worker)
    assert worker.terminate() == 0


def test_many_queues_are_served_by_a_user_who_may_not_be_told_of_changes(
    new_redis: Callable[..., RedisServer], run_worker: Start
) -> None:
    server = new_redis()
    with server.client() as client:
        rules = ("~*", "+@all", "-client|tracking", "-client|caching")
        client.execute_command("ACL", "SETUSER", "least", "on", ">secret", *rules)
    url = server.url.replace("redis://", "redis://least:secret@")
    worker = run_worker(url, FULFIL_ALL, "--queue", ",".join(QUEUES))
    settled(server, worker)
    for queue in QUEUES:
        orders = bodies(2, prefix=queue)
        place(server, orders, queue)
        wait_until_all(server, orders, queue=queue)
    assert worker.terminate() == 0


def test_a_queue_whose_key_has_a_wrong_type_does_not_disturb_the_others(
    redis_7: RedisServer, run_worker: Start
) -> None:
    with redis_7.client() as client:
        client.set(QUEUES[3], "no list")
    worker = run_worker(redis_7.url, FULFIL_ALL, "--queue", ",".join(QUEUES))
    worker.wait_for("redis_lost")
    for queue in (QUEUES[0], QUEUES[11]):
        orders = bodies(3, prefix=queue)
        place(redis_7, orders, queue)
        wait_until_all(redis_7, orders, queue=queue)
    assert {each["queue"] for each in worker.events("redis_lost")} == {QUEUES[3]}
    assert worker.terminate() == 0
