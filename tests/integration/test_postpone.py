"""Orders that are put off: by their handler, by themselves, and not for ever."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

from click.testing import CliRunner

from fulfillment_worker.cli.main import main
from tests.support.calls import NOTE, Calls
from tests.support.eventually import eventually
from tests.support.orders import books, dead_letters, events_of, order_hash, place, wait_until_all
from tests.support.redis_server import RedisServer, wait_for_status
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]

POSTPONES = (
    NOTE
    + """
from fulfillment_worker import Postpone

async def fulfil(order):
    note(order, "start")
    if not order.body["in_stock"].pop():
        raise Postpone("out of stock", after=order.body["after"])
"""
)
TWICE = (
    NOTE
    + """
from fulfillment_worker import Postpone

seen = set()

async def fulfil(order):
    note(order, "start")
    if order.id not in seen:
        seen.add(order.id)
        raise Postpone("out of stock", after=0.2)
"""
)


def ask(*arguments: str) -> str:
    done = CliRunner().invoke(main, list(arguments))
    assert done.exit_code == 0, done.output
    return str(done.stdout)


def test_postponed_order_comes_back_and_is_no_failure(
    redis_server: RedisServer, run_worker: Start, calls: Calls
) -> None:
    worker = run_worker(redis_server.url, TWICE, "--max-attempts", "1", env=calls.env)
    orders = [{"order_id": f"A-{number}"} for number in range(200)]
    place(redis_server, orders)
    wait_until_all(redis_server, orders)
    page = worker.wait_until_fulfilled(200)
    assert page["orders_postponed_total"] == 200
    assert page.get_sample("orders_processed_total", status="error") == 0
    assert page["order_retries_total"] == 0
    assert calls.count() == 400
    assert {call.attempt for call in calls.all()} == {1}
    assert events_of(redis_server)["A-7"] == [
        ("processing", 1),
        ("postponed", 1),
        ("processing", 1),
        ("fulfilled", 1),
    ]
    told = order_hash(redis_server, "A-7")
    assert told["postponed"] == "1"
    assert "reason" not in told
    assert books(redis_server).unaccounted == 0


def test_postponed_order_is_told_where_people_ask(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    worker = run_worker(redis_7.url, POSTPONES, env=calls.env)
    place(redis_7, [{"order_id": "A", "in_stock": [0], "after": 3600}])
    wait_for_status(redis_7, "A", "postponed")
    said = ask("status", "A", "--redis-url", redis_7.url)
    assert "postponed" in said
    assert re.search(r"it comes back in (1 h|60 min) \(out of stock\)", said), said
    (told,) = json.loads(ask("status", "A", "--json", "--redis-url", redis_7.url))
    assert (told["status"], told["reason"], told["postponed"]) == ("postponed", "out of stock", 1)
    (queue,) = json.loads(ask("queue", "--json", "--redis-url", redis_7.url))
    assert (queue["scheduled"], queue["retrying"]) == (1, 0)
    eventually(lambda: worker.scrape()["fulfillment_scheduled_depth"] == 1, what="the gauge")
    page = worker.scrape()
    assert page["fulfillment_outstanding_orders"] == page["fulfillment_retry_depth"] == 0
    assert page["orders_unaccounted"] == 0


def test_order_that_is_postponed_for_longer_than_its_age_allows_expires(
    redis_server: RedisServer, run_worker: Start, calls: Calls
) -> None:
    worker = run_worker(redis_server.url, POSTPONES, "--max-age", "1s", env=calls.env)
    place(redis_server, [{"order_id": "A", "in_stock": [0], "after": 3600}])
    (letter,) = eventually(lambda: dead_letters(redis_server), what="the order expires")
    assert letter.reason == "expired"
    assert calls.count() == 1
    wait_for_status(redis_server, "A", "dead")
    page = worker.scrape()
    assert page.get_sample("orders_dead_lettered_total", reason="expired") == 1
    assert page.get_sample("orders_processed_total", status="error") == 0
    assert books(redis_server).unaccounted == 0


def test_order_starts_not_before_its_time_and_not_after_it_expired(
    redis_server: RedisServer, run_worker: Start, calls: Calls
) -> None:
    worker = run_worker(
        redis_server.url,
        NOTE + '\nasync def fulfil(order):\n    note(order, "start")\n',
        *("--not-before-field", "ship_on", "--expires-field", "valid_to"),
        env=calls.env,
    )
    worker.wait_until_ready()
    now = time.time()
    place(redis_server, [{"order_id": "later", "ship_on": now + 3600}])
    place(redis_server, [{"order_id": "old", "valid_to": now - 1}])
    place(redis_server, [{"order_id": "soon", "ship_on": now + 1.5}, {"order_id": "plain"}])
    wait_until_all(redis_server, [{"order_id": "plain"}, {"order_id": "soon"}])
    assert int(order_hash(redis_server, "soon")["started_at"]) >= round((now + 1.5) * 1000)
    wait_for_status(redis_server, "later", "scheduled")
    (letter,) = eventually(lambda: dead_letters(redis_server), what="the old one")
    assert (letter.reason, letter.raw) == (
        "expired",
        json.dumps({"order_id": "old", "valid_to": now - 1}).encode(),
    )
    assert sorted(calls.ids()) == ["plain", "soon"]
    assert books(redis_server).unaccounted == 0


def test_expired_copy_leaves_a_fulfilled_order_fulfilled(
    redis_server: RedisServer, run_worker: Start
) -> None:
    source = "async def fulfil(order):\n    pass\n"
    worker = run_worker(redis_server.url, source, "--expires-field", "valid_to")
    place(redis_server, [{"order_id": "A", "valid_to": time.time() + 3600}])
    wait_for_status(redis_server, "A", "fulfilled")
    place(redis_server, [{"order_id": "A", "valid_to": time.time() - 1}])
    eventually(lambda: worker.scrape()["orders_duplicate_total"] == 1, what="the copy is counted")
    assert order_hash(redis_server, "A")["status"] == "fulfilled"
    assert dead_letters(redis_server) == []
    assert books(redis_server).unaccounted == 0


def test_expired_letter_that_is_retried_gets_its_whole_age_again(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    worker = run_worker(redis_7.url, POSTPONES, "--max-age", "2s", env=calls.env)
    place(redis_7, [{"order_id": "A", "in_stock": [1, 0], "after": 3600}])
    eventually(lambda: dead_letters(redis_7), what="the order expires")
    assert order_hash(redis_7, "A").get("history") is None
    ask("dead", "retry", "A", "--redis-url", redis_7.url)
    eventually(lambda: calls.count() == 2, what="it is tried again")
    assert worker.get("/readyz")[0] == 200
