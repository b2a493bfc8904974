"""Orders that operators hold, release and cancel, as people do it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from fulfillment_worker.cli.main import main
from tests.support.calls import NOTE, Calls
from tests.support.eventually import eventually
from tests.support.orders import (
    books,
    dead_letters,
    events_of,
    order_hash,
    place,
    statuses,
    stream,
    wait_until_all,
)
from tests.support.redis_server import RedisServer, wait_for_status
from tests.support.topology import cluster
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]

WAITS = (
    NOTE
    + """
import asyncio

async def fulfil(order):
    note(order, "start")
    await asyncio.sleep(order.body.get("seconds", 0))
    note(order, "end")
"""
)
PLAIN = (
    NOTE
    + """
def fulfil(order):
    note(order, "start")
    while not os.path.exists(_gate):
        time.sleep(0.01)
    if order.body.get("fails"):
        raise ValueError("no luck")
"""
)


def ask(*arguments: str, exits: int = 0) -> str:
    done = CliRunner().invoke(main, list(arguments))
    assert done.exit_code == exits, (done.output, done.stderr)
    return str(done.stdout)


def told(server: RedisServer, order_id: str) -> dict[str, object]:
    (answer,) = json.loads(ask("status", order_id, "--redis-url", server.url, "--json"))
    assert isinstance(answer, dict)
    return answer


def test_hold_before_arrival_lasts_until_the_release(
    redis_server: RedisServer, run_worker: Start, calls: Calls
) -> None:
    worker = run_worker(redis_server.url, WAITS, env=calls.env)
    at = ("--redis-url", redis_server.url, "--by", "ops@desk-3")
    worker.wait_until_ready()
    said = ask("hold", "A-1", *at, "--why", "address?")
    assert said == "A-1: it has not arrived: it will be held if it comes within 7 days\n"
    assert told(redis_server, "A-1")["wish_by"] == "ops@desk-3"
    place(redis_server, [{"order_id": "A-1"}, {"order_id": "A-2"}])
    wait_until_all(redis_server, [{"order_id": "A-2"}])
    wait_for_status(redis_server, "A-1", "held")
    answer = told(redis_server, "A-1")
    why = str(answer["why"])
    assert why.startswith("held since ")
    assert why.endswith(' by ops@desk-3, "address?"')
    assert "HELD" in ask("queue", *at[:2])
    eventually(lambda: worker.scrape()["fulfillment_held_depth"] == 1, what="its place is shown")
    assert worker.scrape()["orders_held_total"] == 1
    assert ask("release", "A-1", *at) == "A-1: released: it is due now\n"
    wait_until_all(redis_server, [{"order_id": "A-1"}])
    assert calls.ids().count("A-1") == 1
    assert events_of(redis_server)["A-1"] == [
        ("held", 1),
        ("retrying", 0),
        ("processing", 1),
        ("fulfilled", 1),
    ]
    (event,) = (each for each in stream(redis_server) if each["status"] == "held")
    assert (event["by"], event["reason"]) == ("ops@desk-3", "address?")
    acts = json.loads(ask("audit", *at[:2], "--json"))
    assert [(act["act"], act["order_id"]) for act in acts] == [("hold", "A-1"), ("release", "A-1")]
    assert books(redis_server).unaccounted == 0


def test_cancel_stops_what_is_being_handled_and_says_so(
    redis_server: RedisServer, run_worker: Start, calls: Calls
) -> None:
    worker = run_worker(redis_server.url, WAITS, env=calls.env)
    place(redis_server, [{"order_id": "A-1", "seconds": 600}, {"order_id": "A-2", "seconds": 600}])
    eventually(lambda: calls.count() == 2, what="both run")
    at = ("--redis-url", redis_server.url)
    assert ask("cancel", "A-1", *at) == "A-1: cancelled: its attempt was stopped\n"
    assert ask("hold", "A-2", *at) == "A-2: held: its attempt was stopped\n"
    assert statuses(redis_server, ["A-1", "A-2"]) == ["cancelled", "held"]
    assert "attempt" in order_hash(redis_server, "A-2")
    place(redis_server, [{"order_id": "A-1", "seconds": 600}])
    eventually(lambda: books(redis_server).duplicates == 1, what="the copy is a duplicate")
    assert calls.count() == 2
    assert ask("cancel", "A-2", *at) == "A-2: cancelled: it was held\n"
    eventually(lambda: worker.scrape()["orders_cancelled_total"] == 1, what="it is counted")
    page = worker.scrape()
    assert page["orders_unaccounted"] == 0
    assert page.get_sample("orders_processed_total", status="error") == 0
    now = books(redis_server)
    assert (now.cancelled, now.held, now.unaccounted) == (2, 0, 0)


def test_order_that_is_fulfilled_is_neither_held_nor_cancelled(
    redis_server: RedisServer, run_worker: Start
) -> None:
    run_worker(redis_server.url)
    place(redis_server, [{"order_id": "A-1"}])
    wait_until_all(redis_server, [{"order_id": "A-1"}])
    for command in ("hold", "cancel"):
        said = ask(command, "A-1", "--redis-url", redis_server.url, exits=1)
        assert said.startswith("A-1: too late: it is fulfilled")
    assert "wish" not in order_hash(redis_server, "A-1")
    ask("release", "A-1", "--redis-url", redis_server.url, exits=1)


def test_dead_order_that_is_cancelled_is_no_dead_letter(
    redis_server: RedisServer, run_worker: Start
) -> None:
    run_worker(
        redis_server.url,
        "from fulfillment_worker import Reject\n\n"
        "async def fulfil(order):\n    raise Reject('no such SKU')\n",
    )
    place(redis_server, [{"order_id": "A-1"}, {"order_id": "A-2"}])
    eventually(lambda: len(dead_letters(redis_server)) == 2, what="both are dead")
    said = ask("cancel", "A-1", "--redis-url", redis_server.url)
    assert said == "A-1: cancelled: it was dead\n"
    (letter,) = dead_letters(redis_server)
    assert letter.header["order_id"] == "A-2"
    assert books(redis_server).unaccounted == 0


def test_plain_function_that_cannot_be_stopped_decides_how_its_order_ends(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    run_worker(redis_7.url, PLAIN, env=calls.env)
    place(
        redis_7,
        [
            {"order_id": "A-1"},
            {"order_id": "A-2", "fails": True},
        ],
    )
    eventually(lambda: calls.count() == 2, what="both run")
    at = ("--redis-url", redis_7.url)
    done = CliRunner().invoke(main, ["cancel", "A-1", "A-2", "--wait", "3s", *at])
    assert done.exit_code == 0
    assert done.stdout.count("still handles it: it will be cancelled unless that succeeds") == 2
    assert "waiting for 2 orders that are still being handled" in done.stderr
    assert statuses(redis_7, ["A-1", "A-2"]) == ["processing", "processing"]
    assert "unless the attempt succeeds first" in str(told(redis_7, "A-1")["why"])
    calls.open_gate()
    wait_for_status(redis_7, "A-1", "fulfilled")
    wait_for_status(redis_7, "A-2", "cancelled")
    assert "wish" not in order_hash(redis_7, "A-1")
    assert books(redis_7).unaccounted == 0


def test_wish_for_an_order_on_the_list_is_kept_for_as_long_as_it_waits(
    redis_server: RedisServer,
) -> None:
    place(redis_server, [{"order_id": "A-1"}])
    at = ("--redis-url", redis_server.url)
    said = ask("cancel", "A-1", "A-9", *at)
    assert said == (
        "A-1: it is waiting: it will be cancelled when its turn comes\n"
        "A-9: it has not arrived: it will be cancelled if it comes within 7 days\n"
    )
    with redis_server.client() as client:
        assert client.ttl("{orders}:order:A-1") == -1
        assert 0 < client.ttl("{orders}:order:A-9") <= 7 * 86_400
    answer = told(redis_server, "A-1")
    assert (answer["status"], answer["position"], answer["wish"]) == ("waiting", 1, "cancel")
    assert ask("hold", "A-1", *at, exits=1).startswith("A-1: it is to be cancelled")
    assert ask("release", "A-1", "A-9", *at) == (
        "A-1: it goes on: it was to be cancelled\nA-9: it goes on: it was to be cancelled\n"
    )
    assert order_hash(redis_server, "A-1") == order_hash(redis_server, "A-9") == {}


def test_held_order_survives_a_restart_of_redis(
    new_redis: Callable[..., RedisServer], run_worker: Start, calls: Calls
) -> None:
    server = new_redis("redis-7", "--appendfsync", "always", persistent=True)
    worker = run_worker(server.url, WAITS, env=calls.env)
    place(server, [{"order_id": "A-1", "seconds": 600}])
    eventually(lambda: calls.count() == 1, what="it runs")
    at = ("--redis-url", server.url)
    ask("hold", "A-1", *at)
    server.restart()
    assert statuses(server, ["A-1"]) == ["held"]
    ask("release", "A-1", *at)
    eventually(lambda: calls.count() == 2, what="it runs again")
    # It is in flight when Redis is away: the wish is there when it is back.
    server.stop()
    server.start()
    ask("cancel", "A-1", *at)
    assert statuses(server, ["A-1"]) == ["cancelled"]
    assert books(server).unaccounted == 0
    assert worker.returncode is None


def test_erase_removes_a_held_order(redis_server: RedisServer, run_worker: Start) -> None:
    place(redis_server, [{"order_id": "A-1"}])
    at = ("--redis-url", redis_server.url)
    ask("hold", "A-1", *at)
    run_worker(redis_server.url)
    wait_for_status(redis_server, "A-1", "held")
    ask("erase", "A-1", *at)
    with redis_server.client() as client:
        assert not client.exists("{orders}:order:A-1", "{orders}:held", "{orders}:ids")
        assert client.hget("{orders}:books", "dropped") == b"1"


def test_unusable_ids_and_unknown_queues_are_told(redis_server: RedisServer) -> None:
    at = ("--redis-url", redis_server.url)
    done = CliRunner().invoke(main, ["hold", "", "a\nb", *at])
    assert done.exit_code == 2
    assert done.stderr.count("can't be an order's id") == 2
    done = CliRunner().invoke(main, ["cancel", "A-1", "--queue", "odrers", *at])
    assert done.exit_code == 1
    assert "there is no queue 'odrers'" in done.stderr


def test_several_queues_are_asked_where_one_knows_the_order_or_all_of_them(
    redis_server: RedisServer, run_worker: Start
) -> None:
    at = ("--redis-url", redis_server.url, "--queue", "express,orders")
    worker = run_worker(redis_server.url, "async def fulfil(order): pass\n", *at[2:])
    worker.wait_until_ready()
    place(redis_server, [{"order_id": "A-1"}])
    wait_until_all(redis_server, [{"order_id": "A-1"}])
    said = ask("hold", "A-1", *at, exits=1)
    assert said == "A-1 in orders: too late: it is fulfilled, and can't be held\n"
    told_of = json.loads(ask("hold", "A-2", "--json", *at))
    assert [(each["queue"], each["result"]) for each in told_of] == [
        ("express", "pending"),
        ("orders", "pending"),
    ]
    place(redis_server, [{"order_id": "A-2"}], queue="express")
    wait_for_status(redis_server, "A-2", "held", queue="express")
    backwards = ("--redis-url", redis_server.url, "--queue", "orders,express")
    (answer,) = json.loads(ask("status", "A-2", "--json", *backwards))
    assert (answer["queue"], answer["status"]) == ("express", "held")
    assert ask("release", "A-2", *at).count("\n") == 2
    wait_for_status(redis_server, "A-2", "fulfilled", queue="express")


def test_order_that_is_held_is_nothing_to_scale_on(redis_7: RedisServer, run_worker: Start) -> None:
    worker = run_worker(redis_7.url)
    at = ("--redis-url", redis_7.url)
    worker.wait_until_ready()
    ask("hold", "A-1", *at)
    place(redis_7, [{"order_id": "A-1"}])
    eventually(lambda: worker.scrape()["fulfillment_held_depth"] == 1, what="it is held")
    page = worker.scrape()
    assert page["fulfillment_outstanding_orders"] == 0
    assert page["orders_unaccounted"] == 0


def test_orders_of_a_cluster_are_held_released_and_cancelled(
    tmp_path: Path, run_worker: Start, calls: Calls
) -> None:
    with cluster(tmp_path / "c", replicas=1) as group:
        run_worker(group.url, WAITS, env=calls.env).wait_until_ready()
        at = ("--redis-url", group.url)

        def status_of(order_id: str) -> str:
            (answer,) = json.loads(ask("status", order_id, "--json", *at))
            return str(answer["status"])

        ask("hold", "A-1", *at)
        with group.client() as client:
            client.lpush("orders", b'{"order_id": "A-1"}', b'{"order_id": "A-2", "seconds": 600}')
        eventually(lambda: calls.ids() == ["A-2"], what="the other one runs")
        eventually(lambda: status_of("A-1") == "held", what="it is held")
        said = ask("cancel", "A-1", "A-2", *at)
        assert said == ("A-1: cancelled: it was held\nA-2: cancelled: its attempt was stopped\n")
        ask("hold", "A-3", *at)
        assert ask("release", "A-3", *at) == "A-3: it goes on: it was to be held\n"
