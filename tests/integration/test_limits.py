"""Limits of the fleet with real workers, which are killed: none is exceeded (invariant 8)."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from fulfillment_worker.cli.main import main
from tests.support.calls import NOTE, Calls, taking
from tests.support.eventually import eventually
from tests.support.orders import bodies, books, in_flight, place, statuses, stream, wait_until_all
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]

GATED = (
    NOTE
    + """
async def fulfil(order):
    note(order, "start")
    while order.body.get("gated") and not os.path.exists(_gate):
        await asyncio.sleep(0.01)
    note(order, "end")
"""
)


def run(server: RedisServer, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--redis-url", server.url])


def limit(server: RedisServer, *arguments: str) -> str:
    done = run(server, "limit", *arguments, "--new")
    assert done.exit_code == 0, done.output
    return done.stdout


def keyed(many: int, keys: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"order_id": f"A-{number}", "customer": {"id": f"c-{number % keys}"}, **more}
        for number in range(many)
    ]


class Span(NamedTuple):
    """A call of a handler: until it ended, or its process was killed."""

    key: str
    started: float
    ended: float


def spans(calls: Calls, key_of: dict[str, str], killed: dict[int, float]) -> Iterator[Span]:
    ends = {(each.order_id, each.attempt, each.pid): each.at for each in calls.all("end")}
    for call in calls.all():
        ended = ends.get((call.order_id, call.attempt, call.pid), killed.get(call.pid))
        assert ended is not None, call
        yield Span(key_of[call.order_id], call.at, ended)


def most_at_once(all_spans: list[Span]) -> int:
    moments = [(span.started, 1) for span in all_spans] + [(span.ended, -1) for span in all_spans]
    running = most = 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    return most


def kill(worker: RunningWorker, killed: dict[int, float]) -> None:
    killed[worker.pid] = time.monotonic()
    worker.kill()


# --- what is never exceeded ---------------------------------------------------------------------


def test_rate_holds_over_several_workers_that_are_killed(
    redis_server: RedisServer, run_worker: Start, calls: Calls
) -> None:
    rate, burst = 50, 5
    limit(redis_server, "--rate", f"{rate}/s", "--burst", str(burst))
    options = ("--concurrency", "20", "--lease", "1s")
    workers = [
        run_worker(redis_server.url, taking(0.02), *options, env=calls.env) for _ in range(3)
    ]
    for worker in workers:
        worker.wait_until_ready()
    orders = bodies(200)
    place(redis_server, orders)
    for many in (50, 120):
        eventually(lambda many=many: calls.count() >= many, what=f"{many} calls")  # type: ignore[misc]
        workers.pop(0).kill()
        workers.append(run_worker(redis_server.url, taking(0.02), *options, env=calls.env))
    wait_until_all(redis_server, orders)

    began = [each for each in stream(redis_server) if each["status"] == "processing"]
    starts = sorted(int(each["at"]) for each in began)
    for first, start in enumerate(starts):
        in_a_second = sum(at < start + 1000 for at in starts[first:])
        assert in_a_second <= rate + burst
    # Nothing starts that isn't counted. What was killed before its handler began has no call.
    called = {(call.order_id, call.attempt) for call in calls.all()}
    assert called <= {(each["order_id"], int(each["attempt"])) for each in began}
    assert calls.count() <= len(began)
    assert books(redis_server).unaccounted == 0


@pytest.mark.parametrize("at_once", [1, 3])
def test_key_has_no_more_at_once_than_allowed_while_workers_are_killed(
    redis_server: RedisServer, run_worker: Start, calls: Calls, at_once: int
) -> None:
    limit(redis_server, "--per-key", "customer.id", "--at-once", str(at_once))
    orders = keyed(500, 100 if at_once == 1 else 10)
    options = ("--concurrency", "40", "--lease", "1s")
    source, chance, killed = taking(0.02), random.Random(1), dict[int, float]()

    def start() -> RunningWorker:
        return run_worker(redis_server.url, source, *options, env=calls.env)

    workers = [start() for _ in range(3)]
    place(redis_server, orders)
    for many in (80, 180, 280):
        eventually(lambda many=many: calls.count() >= many, what=f"{many} calls")  # type: ignore[misc]
        kill(workers.pop(chance.randrange(3)), killed)
        workers.append(start())
    wait_until_all(redis_server, orders)

    eventually(lambda: calls.count("end") >= 500, what="each end is noted")
    all_spans = [*spans(calls, {o["order_id"]: o["customer"]["id"] for o in orders}, killed)]
    for key in {span.key for span in all_spans}:
        assert most_at_once([span for span in all_spans if span.key == key]) <= at_once, key
    now = books(redis_server)
    assert (now.fulfilled, now.retrying, now.unaccounted) == (500, 0, 0)


def test_in_flight_holds_over_several_workers_that_are_killed(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    limit(redis_7, "--in-flight", "7")
    options = ("--concurrency", "20", "--lease", "1s")
    workers = [run_worker(redis_7.url, taking(0.02), *options, env=calls.env) for _ in range(3)]
    killed: dict[int, float] = {}
    orders = bodies(300)
    place(redis_7, orders)
    eventually(lambda: calls.count() >= 60, what="60 calls")
    kill(workers[0], killed)
    wait_until_all(redis_7, orders)
    eventually(lambda: calls.count("end") >= 300, what="each end is noted")
    all_spans = [*spans(calls, dict.fromkeys((o["order_id"] for o in orders), ""), killed)]
    assert most_at_once(all_spans) <= 7
    assert books(redis_7).unaccounted == 0


# --- who waits, and for how long ----------------------------------------------------------------


def test_customer_with_ten_thousand_orders_does_not_hold_up_another(
    redis_server: RedisServer, run_worker: Start, calls: Calls
) -> None:
    limit(redis_server, "--per-key", "customer.id")
    place(redis_server, keyed(10_000, 1, gated=True))
    place(redis_server, [{"order_id": "other", "customer": {"id": "c-2"}}])
    run_worker(redis_server.url, GATED, "--concurrency", "2", env=calls.env)
    wait_until_all(redis_server, [{"order_id": "other"}])
    assert sorted(calls.ids()) == ["A-0", "other"], "the first of the many still runs"
    now = books(redis_server)
    assert (now.waiting, now.retrying, now.in_flight) == (0, 9_999, 1)
    calls.open_gate()
    eventually(lambda: calls.count() > 100, what="the others follow, one by one")
    assert calls.overlapping() == []


def test_key_of_a_killed_worker_is_free_when_its_lease_is_over(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    limit(redis_7, "--per-key", "customer.id")
    options = ("--lease", "1s", "--max-orphanings", "9")
    first = run_worker(redis_7.url, GATED, *options, env=calls.env)
    place(redis_7, keyed(2, 1, gated=True))
    eventually(lambda: calls.count() == 1, what="one starts")
    other = run_worker(redis_7.url, GATED, *options, env=calls.env)
    other.wait_until_ready()
    assert calls.count() == 1
    first.kill()
    eventually(lambda: calls.count() == 2, what="one of the two starts elsewhere")
    calls.open_gate()
    wait_until_all(redis_7, bodies(2))


def test_limit_that_is_lifted_or_raised_wakes_idle_workers(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    limit(redis_7, "--in-flight", "1")
    for _ in range(2):
        run_worker(redis_7.url, GATED, "--concurrency", "1", env=calls.env).wait_until_ready()
    place(redis_7, [{"order_id": f"A-{number}", "gated": True} for number in range(4)])
    eventually(lambda: calls.count() == 1, what="one starts")
    limit(redis_7, "--in-flight", "off")
    eventually(lambda: calls.count() == 2, what="the other worker's one starts")
    calls.open_gate()
    wait_until_all(redis_7, bodies(4))


def test_slot_that_a_drained_worker_leaves_goes_to_another(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    limit(redis_7, "--in-flight", "1")
    first = run_worker(redis_7.url, GATED, env=calls.env)
    place(redis_7, [{"order_id": f"A-{number}", "gated": True} for number in range(2)])
    eventually(lambda: calls.count() == 1, what="one starts")
    run_worker(redis_7.url, GATED, env=calls.env).wait_until_ready()
    calls.open_gate()
    first.terminate()
    wait_until_all(redis_7, bodies(2))


def test_queue_without_limits_pays_nothing_for_them(
    redis_7: RedisServer, run_worker: Start
) -> None:
    worker = run_worker(redis_7.url)
    worker.wait_until_ready()
    with redis_7.client() as client:
        client.config_resetstat()
        place(redis_7, bodies(200))
        wait_until_all(redis_7, bodies(200))
        called = set(client.info("commandstats"))
        assert not called & {"cmdstat_zlexcount", "cmdstat_zrangebylex"}
        assert not client.keys("{orders}:park*") + client.keys("{orders}:key_*")


# --- what people see ----------------------------------------------------------------------------


def test_limits_are_shown_with_what_is_used(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    assert "orders has no limits" in limit(redis_7)
    limit(redis_7, "--rate", "500/h", "--burst", "50", "--in-flight", "20", "--why", "the carrier")
    limit(redis_7, "--per-key", "customer.id", "--key-rate", "100/m", "--at-once", "1")
    worker = run_worker(redis_7.url, GATED, env=calls.env)
    place(redis_7, keyed(9, 3, gated=True))
    eventually(lambda: calls.count() == 3, what="one of each starts")
    shown = limit(redis_7)
    assert re.search(r"rate +500/h, 50 at once +3 in the last hour", shown), shown
    assert re.search(r"in flight +20 +3", shown), shown
    waits = r"1 at once; 100/m, 1 at once +3 orders with a key are in flight, 6 wait for theirs"
    assert re.search(waits, shown), shown
    (told,) = json.loads(limit(redis_7, "--json"))
    assert (told["rate"], told["per_key"], told["used"]["parked"]) == ("500/h", "customer.id", 6)
    eventually(
        lambda: worker.scrape().get_sample("fulfillment_limit_used", limit="per_key") == 6,
        what="the gauges",
    )
    page = worker.scrape()
    assert page.get_sample("fulfillment_limit", limit="rate") == 500
    assert page.get_sample("fulfillment_limit", limit="in_flight") == 20
    assert page.get_sample("fulfillment_limit_used", limit="rate") == 3
    acts = run(redis_7, "audit").stdout
    assert "limit rate 500/h, burst 50, in-flight 20: the carrier" in acts
    calls.open_gate()


def test_status_says_that_an_order_waits_for_its_key_and_who_holds_it(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    limit(redis_7, "--per-key", "customer.id")
    run_worker(redis_7.url, GATED, env=calls.env)
    place(redis_7, keyed(2, 1, gated=True))
    eventually(lambda: statuses(redis_7, ["A-0"]) == ["processing"], what="one starts")
    eventually(lambda: books(redis_7).retrying == 1, what="the other one waits")
    (worker,) = in_flight(redis_7)
    (told,) = json.loads(run(redis_7, "status", "A-1", "--json").stdout)
    assert told["why"] == f"it waits for its key c-0, held by A-0 on {worker}"
    assert (told["status"], told["waits_for"]) == ("retrying", "c-0")
    assert told["held_by"] == [{"order_id": "A-0", "worker": worker}]
    calls.open_gate()
    wait_until_all(redis_7, bodies(2))
    (told,) = json.loads(run(redis_7, "status", "A-1", "--json").stdout)
    assert told["waits_for"] is None


def test_status_says_that_the_fleet_is_at_a_limit(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    limit(redis_7, "--rate", "60/h", "--burst", "1")
    run_worker(redis_7.url, GATED, env=calls.env)
    place(redis_7, [{"order_id": f"A-{number}", "gated": True} for number in range(5)])
    eventually(lambda: calls.count() == 1, what="one starts")
    said = run(redis_7, "status", "A-4").stdout
    assert "3 orders are before it, and the rate is limited to 60/h: about 4 min" in said
    limit(redis_7, "--rate", "off", "--in-flight", "1")
    said = run(redis_7, "status", "A-4").stdout
    assert "the fleet is at its limit: 1 in flight" in said
    calls.open_gate()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--rate", "ten"), 2, "--rate is 'ten': give a whole number from 1 to 1000000 per second"),
        (("--in-flight", "0"), 2, "--in-flight is '0': give a whole number from 1 to 1000000, or"),
        (("--per-key", "a..b"), 2, "--per-key is 'a..b': give the name of a field"),
        (("--at-once", "2"), 2, "give --per-key FIELD as well"),
        (("--burst", "2"), 2, "give --rate as well"),
        (("--rate", "10/s", "--queue", "typo"), 1, "there is no queue 'typo'"),
    ],
)
def test_limit_that_makes_no_sense_is_refused(
    redis_7: RedisServer, arguments: tuple[str, ...], code: int, said: str
) -> None:
    place(redis_7, bodies(1))
    done = run(redis_7, "limit", *arguments)
    assert done.exit_code == code, done.output
    assert said in done.stderr
    assert "Traceback" not in done.output
    with redis_7.client() as client:
        assert client.hget("{orders}:books", "limits") is None
