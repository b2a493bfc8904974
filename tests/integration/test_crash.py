"""Workers that die or fall silent at the worst moment: nothing is lost (invariants 1, 2 and 4)."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.calls import NOTE, Calls, taking
from tests.support.eventually import eventually
from tests.support.orders import (
    bodies,
    books,
    dead_letters,
    events_of,
    in_flight,
    order_hash,
    place,
    statuses,
    wait_until_all,
)
from tests.support.redis_server import RedisServer, wait_for_status
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]


# --- SIGKILL ------------------------------------------------------------------------------------


class Kill(NamedTuple):
    """at: CLOCK_MONOTONIC seconds. orphans: the ids that the worker held then."""

    at: float
    pid: int
    orphans: set[str]


def kill(worker: RunningWorker, server: RedisServer) -> Kill:
    """SIGKILL, and what the worker left behind."""
    at = time.monotonic()
    worker.kill()
    held = in_flight(server)
    orphans = {json.loads(raw)["order_id"] for raws in held.values() for raw in raws}
    return Kill(at, worker.pid, orphans)


def check_recovery(calls: Calls, kills: list[Kill]) -> None:
    """Every orphan ran after the kill, in another process."""
    for killed in kills:
        later = {c.order_id for c in calls.all() if c.pid != killed.pid and c.at > killed.at}
        assert killed.orphans <= later


@pytest.mark.parametrize(
    ("version", "lease"), [("redis-7", 10.0), ("redis-7", 1.0), ("valkey-9", 1.0)]
)
def test_two_kills_among_three_thousand_orders(
    redis_servers: Callable[[str], RedisServer],
    run_worker: Start,
    calls: Calls,
    version: str,
    lease: float,
) -> None:
    server = redis_servers(version)
    server.flush()
    orders = bodies(3000)
    place(server, orders)
    options = ("--concurrency", "20", "--lease", f"{lease}s")

    def start() -> RunningWorker:
        return run_worker(server.url, taking(0.02), *options, env=calls.env)

    worker, kills = start(), []
    for many in (700, 1800):
        eventually(lambda many=many: calls.count() >= many, what=f"{many} calls")  # type: ignore[misc]
        kills.append(kill(worker, server))
        worker = start()
    wait_until_all(server, orders)

    times = Counter(calls.ids())
    assert len(times) == 3000
    assert sum(many > 1 for many in times.values()) <= 40
    assert max(times.values()) <= 3
    assert calls.overlapping() == []
    assert all(killed.orphans for killed in kills)
    check_recovery(calls, kills)
    now = books(server)
    assert (now.received, now.fulfilled, now.dead, now.duplicates) == (3000, 3000, 0, 0)
    assert (now.waiting, now.in_flight, now.retrying, now.unaccounted) == (0, 0, 0, 0)
    assert all(change[-1] == ("fulfilled", 1) for change in events_of(server).values())
    page = worker.scrape()
    assert page.get_sample("orders_recovered_total", reason="lease") >= len(kills[-1].orphans)
    assert worker.terminate() == 0


def test_idle_worker_takes_over_from_a_killed_one(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    options = ("--concurrency", "5", "--lease", "2s")
    idle = run_worker(redis_7.url, taking(0.01), *options, env=calls.env)
    idle.wait_until_ready()
    # Only the busy one may take them: the other's room is what the bell tells it of.
    with redis_7.client() as client:
        client.hset("{orders}:books", "paused", 1)
        place(redis_7, bodies(5))
        client.hdel("{orders}:books", "paused")
    wait_until_all(redis_7, bodies(5))
    busy = run_worker(redis_7.url, taking(60), *options, env=calls.env)
    busy.wait_until_ready()
    idle.pause()
    hung = bodies(5, "B")
    place(redis_7, hung)
    eventually(lambda: calls.count() >= 10, what="all started")
    idle.resume()
    held = {call.order_id for call in calls.all() if call.pid == busy.pid}
    killed = Kill(time.monotonic(), busy.pid, held)
    busy.kill()
    wait_until_all(redis_7, hung)
    assert killed.orphans
    check_recovery(calls, [killed])
    assert books(redis_7).unaccounted == 0


def test_an_order_whose_claim_was_cut_off_by_the_kill_of_both(
    new_redis: Callable[..., RedisServer], run_worker: Start, calls: Calls
) -> None:
    server = new_redis("redis-7", "--appendfsync", "always", persistent=True)
    orders = bodies(500)
    options = ("--concurrency", "20", "--lease", "1s")
    place(server, orders)
    first = run_worker(server.url, taking(0.02), *options, env=calls.env)
    eventually(lambda: calls.count() >= 100, what="100 calls")
    first.kill()
    server.kill()
    server.start()
    run_worker(server.url, taking(0.02), *options, env=calls.env)
    wait_until_all(server, orders)
    assert sum(many > 1 for many in Counter(calls.ids()).values()) <= 20
    assert books(server).unaccounted == 0


# --- zombies ------------------------------------------------------------------------------------

WAITS_FOR_THE_FLAG = (
    NOTE
    + """
async def fulfil(order):
    note(order, "start")
    while not os.path.exists(os.environ["FLAG"]):
        await asyncio.sleep(0.01)
    note(order, "end")
"""
)


def test_a_zombie_is_fenced(
    redis_server: RedisServer, run_worker: Start, calls: Calls, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    env = calls.env | {"FLAG": str(flag)}
    place(redis_server, bodies(5))
    lease = ("--lease", "1s")
    zombie = run_worker(redis_server.url, WAITS_FOR_THE_FLAG, *lease, env=env)
    eventually(lambda: calls.count() == 5, what="5 orders running")
    zombie.pause()
    other = run_worker(redis_server.url, taking(0.0), *lease, env=calls.env)
    wait_until_all(redis_server, bodies(5))
    before = order_hash(redis_server, "A-0")
    flag.touch()
    zombie.resume()

    def counted() -> bool:
        return zombie.scrape().get_sample("order_failures_total", reason="lease_lost") == 5

    eventually(counted, what="the zombie's 5 acks refused and counted")
    page = zombie.scrape()
    assert page.get_sample("orders_processed_total", status="success") == 0
    assert order_hash(redis_server, "A-0") == before
    assert before["status"] == "fulfilled"
    for changes in events_of(redis_server).values():
        assert [status for status, _ in changes].count("fulfilled") == 1
        assert changes[-1] == ("fulfilled", 1)
    now = books(redis_server)
    assert (now.received, now.fulfilled, now.unaccounted) == (5, 5, 0)
    other.wait_until_fulfilled(5)
    assert other.scrape().get_sample("orders_recovered_total", reason="lease") == 5
    # It goes on under a new name.
    assert zombie.events("lease_lost")
    other.terminate()
    place(redis_server, bodies(1, "B"))
    wait_for_status(redis_server, "B-0", "fulfilled")
    assert zombie.terminate() == 0


def test_a_zombie_whose_order_runs_elsewhere_does_not_disturb_it(
    redis_7: RedisServer, run_worker: Start, calls: Calls, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    options = ("--lease", "1s")
    env = calls.env | {"FLAG": str(tmp_path / "zombie's")}
    place(redis_7, bodies(1))
    zombie = run_worker(redis_7.url, WAITS_FOR_THE_FLAG, *options, env=env)
    eventually(lambda: calls.count() == 1, what="the order runs")
    zombie.pause()
    other = run_worker(
        redis_7.url, WAITS_FOR_THE_FLAG, *options, env=calls.env | {"FLAG": str(flag)}
    )
    eventually(lambda: calls.count() == 2, what="the order runs elsewhere")
    running = order_hash(redis_7, "A-0")
    Path(env["FLAG"]).touch()
    zombie.resume()
    eventually(lambda: zombie.events("lease_lost"), what="the zombie told")
    assert order_hash(redis_7, "A-0") == running
    assert running["status"] == "processing"
    flag.touch()
    wait_for_status(redis_7, "A-0", "fulfilled")
    assert order_hash(redis_7, "A-0")["worker"] == running["worker"]
    assert books(redis_7).fulfilled == 1
    assert books(redis_7).unaccounted == 0
    other.wait_until_fulfilled(1)
    assert zombie.scrape().get_sample("order_failures_total", reason="lease_lost") == 1


# The last of 25 blocks the loop, so that all of them end before their worker hears from Redis.
END_TOGETHER = (
    NOTE
    + """
started, over = 0, asyncio.Event()

async def fulfil(order):
    global started
    note(order, "start")
    started += 1
    if started == 25:
        while not os.path.exists(os.environ["FLAG"]):
            time.sleep(0.01)
        over.set()
    await over.wait()
    note(order, "end")
"""
)


def test_a_hundred_late_acks_are_refused(
    redis_server: RedisServer, run_worker: Start, calls: Calls, tmp_path: Path
) -> None:
    env = calls.env | {"FLAG": str(tmp_path / "flag")}
    options = ("--lease", "1s", "--concurrency", "25")
    zombies = [run_worker(redis_server.url, END_TOGETHER, *options, env=env) for _ in range(4)]
    for zombie in zombies:
        zombie.wait_until_ready()
    orders = bodies(100)
    place(redis_server, orders)
    eventually(lambda: calls.count() == 100, what="all slots of all are taken")
    for zombie in zombies:
        zombie.pause()
    other = run_worker(redis_server.url, taking(0.0), "--lease", "1s", env=calls.env)
    wait_until_all(redis_server, orders)
    before = [order_hash(redis_server, order["order_id"]) for order in orders]
    (tmp_path / "flag").touch()
    for zombie in zombies:
        zombie.resume()

    def refused() -> bool:
        pages = [zombie.scrape() for zombie in zombies]
        assert [p.get_sample("order_failures_total", reason="lease_lost") for p in pages] == [
            25
        ] * 4
        return True

    eventually(refused, what="25 acks of each zombie refused and counted")
    pids = {zombie.pid for zombie in zombies}
    late = [call.order_id for call in calls.all("end") if call.pid in pids]
    assert sorted(late) == sorted(order["order_id"] for order in orders)
    assert [order_hash(redis_server, order["order_id"]) for order in orders] == before
    for changes in events_of(redis_server).values():
        assert [status for status, _ in changes].count("fulfilled") == 1
    for zombie in zombies:
        assert zombie.scrape().get_sample("orders_processed_total", status="success") == 0
    other.wait_until_fulfilled(100)
    now = books(redis_server)
    assert (now.received, now.fulfilled, now.unaccounted) == (100, 100, 0)


# --- orders that kill ---------------------------------------------------------------------------

KILLS = (
    NOTE
    + """
async def fulfil(order):
    note(order, "start")
    await asyncio.sleep(0.02)
    if order.id.startswith("poison"):
        os._exit(9)
"""
)

# Found by the interpreter at its start, since its folder is on PYTHONPATH.
DIES_DECODING = """
import os, sys
from fulfillment_worker.core import decode as module

honest = module.decode

def decode(raw, **rules):
    if b"poison" in raw:
        os._exit(9)
    return honest(raw, **rules)

module.decode = decode
"""


@pytest.mark.parametrize(
    ("version", "where"),
    [("valkey-9", "handling"), ("redis-7", "handling"), ("redis-7", "decoding")],
)
def test_an_order_that_kills_its_worker_ends_as_a_dead_letter(
    redis_servers: Callable[[str], RedisServer],
    run_worker: Start,
    calls: Calls,
    tmp_path: Path,
    version: str,
    where: str,
) -> None:
    redis_server = redis_servers(version)
    redis_server.flush()
    env = dict(calls.env)
    if where == "decoding":
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(DIES_DECODING)
        env["PYTHONPATH"] = str(tmp_path / "site")
    good = bodies(999)
    place(redis_server, [*good[:20], {"order_id": "poison"}, *good[20:]])
    options = ("--lease", "500ms", "--concurrency", "10")
    worker, deaths = run_worker(redis_server.url, KILLS, *options, env=env), 0
    ids = [order["order_id"] for order in good]

    def all_ended() -> bool:
        nonlocal worker, deaths
        if worker.returncode is not None:
            assert worker.returncode == 9, worker.output
            deaths += 1
            worker = run_worker(redis_server.url, KILLS, *options, env=env)
        return dead_letters(redis_server) != [] and set(statuses(redis_server, ids)) == {
            "fulfilled"
        }

    # Orders on their last chance run one at a time, but one right after the other.
    eventually(all_ended, what="the good fulfilled, the poison dead")
    assert deaths == 3
    [letter] = dead_letters(redis_server)
    assert letter.reason == "orphaned"
    assert letter.raw == b'{"order_id": "poison"}'
    assert letter.header["orphanings"] == 3
    assert letter.header["failures"] == 0
    assert order_hash(redis_server, "poison")["status"] == "dead"
    now = books(redis_server)
    assert (now.received, now.fulfilled, now.dead, now.unaccounted) == (1000, 999, 1, 0)

    def counted() -> bool:
        return worker.scrape().get_sample("orders_dead_lettered_total", reason="orphaned") == 1

    eventually(counted)
    assert worker.terminate() == 0


def test_several_killers_end_as_dead_letters_while_others_flow(
    redis_7: RedisServer, run_worker: Start, calls: Calls
) -> None:
    good, killers = bodies(100), bodies(3, "poison")
    place(redis_7, [*killers, *good])
    options = ("--lease", "300ms", "--concurrency", "20")
    running: list[RunningWorker] = []

    def all_ended() -> bool:
        if not running or running[-1].returncode is not None:
            assert len(running) <= 9, "more workers died than the killers have lives"
            running.append(run_worker(redis_7.url, KILLS, *options, env=calls.env))
        return set(statuses(redis_7, [order["order_id"] for order in killers])) == {"dead"}

    eventually(all_ended, what="all killers dead")
    wait_until_all(redis_7, good)
    assert [letter.reason for letter in dead_letters(redis_7)] == ["orphaned"] * 3
    assert books(redis_7).unaccounted == 0
