"""A fleet under every kind of fault loses nothing (invariants 1 to 5); the audit would notice."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proofs.chaos import clock_faults
from proofs.chaos.ground import Ground, Injected
from proofs.chaos.plan import DECKS, Fault, Round, Step, make_plan, make_round
from proofs.chaos.report import as_table, as_words, make_report
from proofs.chaos.run import Result, run_round
from proofs.chaos.threads import no_threads
from tests.support.clock import Clock

CLOCKS = (clock_faults.an_hour_ahead, clock_faults.an_hour_behind)


REDIS_CLOCKS = (
    clock_faults.redis_ahead,
    clock_faults.redis_behind,
    clock_faults.redis_far_ahead,
)
STARTS_THREADS = """
import sys, threading
for _ in sys.stdin:
    try:
        threading.Thread(target=print, args=("fine",)).start()
    except RuntimeError as error:
        print(error)
"""


def say(text: str) -> None:
    print(text)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("site", ["redis-7", "sentinel", "cluster"])
def test_a_fleet_under_faults_of_every_kind(site: str, tmp_path: Path) -> None:
    planned = make_round(site, len(DECKS[site]), 7)
    # libfaketime slows whatever waits, and here many servers share a machine with other tests: one
    # site with it is enough. `make chaos` steps clocks on all of them.
    steps = [step for step in planned.steps if site == "redis-7" or step.fault not in CLOCKS]
    kinds = len(steps)
    # A third of the load of `make chaos`.
    report = make_report(7, [run_round(tmp_path, planned._replace(steps=steps), say, 100)])
    print(as_table(report), as_words(report), sep="\n")
    assert report.faults == []
    assert len(report.rows) >= kinds
    assert report.total.injected == kinds
    assert (report.total.lost, report.total.two_owners, report.total.after_end) == (0, 0, 0)
    assert report.placed > 20 * kinds
    assert report.good
    assert json.loads(report.to_json())["good"] is True


def test_clock_of_redis_is_stepped_and_costs_nobody_a_lease(tmp_path: Path) -> None:
    steps = [Step(fault, 0.3, 5) for fault in REDIS_CLOCKS]
    report = make_report(5, [run_round(tmp_path, Round("valkey-9", steps, 5), say)])
    print(as_table(report), as_words(report), sep="\n")
    assert report.faults == []
    assert report.total.injected == len(steps)


def test_clock_tells_when_it_showed_a_time(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    now = time.monotonic()
    clock.steps = [(now - 60, 0), (now - 40, 30), (now - 20, -3600), (now - 10, 0)]
    offset = time.time() - now
    for true, wrong, seen in (
        (now - 50, 0, now - 49.9),
        (now - 39, 30, now - 38.9),
        (now - 15, -3600, now - 14),
        (now - 9, 0, now - 9),  # With 30 s more it is the time that it showed at now - 39.
    ):
        assert clock.at(true + offset + wrong, seen, 0.05) == pytest.approx(true, abs=0.01)


def test_thread_limit_is_a_real_one() -> None:
    with subprocess.Popen(
        [sys.executable, "-uc", STARTS_THREADS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        told, read = process.stdin, process.stdout

        def answer() -> str:
            print(file=told, flush=True)
            return read.readline().strip()

        assert answer() == "fine"
        with no_threads(process.pid):
            assert answer() == "can't start new thread"
        assert answer() == "fine"
        process.stdin.close()


def test_a_plan_follows_from_its_seed() -> None:
    assert make_plan(250, 1) == make_plan(250, 1)
    assert make_plan(250, 1) != make_plan(250, 2)
    for site, deck in DECKS.items():
        faults = [step.fault for step in make_round(site, 2 * len(deck), 3).steps]
        assert all(faults.count(fault) == 2 for fault in deck)
    plan = make_plan(1000, 3)
    assert sum(len(a_round.steps) for a_round in plan) == 1000
    assert {a_round.site for a_round in plan} == set(DECKS)


# --- the audit is not blind -----------------------------------------------------------------------

BOOKS = "{orders}:books"
_TRIES = 20


def thief(ground: Ground, rng: random.Random) -> Injected:
    """Takes an acknowledged order off the list."""
    fault = Injected("thief", time.monotonic())
    with ground.site.client() as client:
        client.hset(BOOKS, "paused", "1")
        [order_id] = ground.producer.place()
        raw = ground.producer.placed[order_id].raw
        # It may have been moved aside to wake a worker, which may not claim it.
        places = ("orders", "{orders}:woken")
        ground.wait(lambda: any(client.lrem(place, 1, raw) for place in places), "stolen")
        client.hdel(BOOKS, "paused")
    fault.ended = time.monotonic()
    return fault


def forger(ground: Ground, rng: random.Random) -> Injected:
    """Makes Redis forget that an order is fulfilled, and has it come again."""
    fault = Injected("forger", time.monotonic())
    [order_id] = ground.producer.place()
    key = f"{{orders}}:order:{order_id}"
    with ground.site.client() as client:
        ground.wait(lambda: client.hget(key, "status") == b"fulfilled", "fulfilled")
        ground.hold(0.2)
        client.delete(key)
        client.lpush("orders", ground.producer.placed[order_id].raw)
    fault.ended = time.monotonic()
    return fault


def double(ground: Ground, rng: random.Random) -> Injected:
    """Makes Redis forget that an order is under way, and has a copy run beside it.

    On a busy machine the first may have ended before the copy begins: then it is done again.
    """
    fault = Injected("double", time.monotonic())
    for _ in range(_TRIES):
        if runs_twice_at_once(ground):
            break
    fault.ended = time.monotonic()
    return fault


def runs_twice_at_once(ground: Ground) -> bool:
    [order_id] = ground.producer.place("block")
    calls = ground.record.by_order[order_id]
    ground.wait(lambda: bool(calls), "it runs")
    with ground.site.client() as client:
        client.delete(f"{{orders}}:order:{order_id}")
        for _ in range(5):
            client.lpush("orders", ground.producer.placed[order_id].raw)
    ground.wait(lambda: len(calls) > 1, "it runs twice")
    first, second = calls[:2]
    ground.wait(lambda: first.end is not None, "the first has ended")
    return first.end is not None and second.start < first.end


def leave_a_lie(ground: Ground, rng: random.Random) -> Injected:
    """Adds an order to the books that never was."""
    fault = Injected("liar", time.monotonic())
    with ground.site.client() as client:
        client.hincrby(BOOKS, "received", 1)
    fault.ended = time.monotonic()
    return fault


def sabotage(folder: Path, saboteur: Fault) -> Result:
    return run_round(folder, Round("redis-7", [Step(saboteur, 0.3, 1)], 1), say)


def test_the_audit_notices_a_lost_order(tmp_path: Path) -> None:
    findings = sabotage(tmp_path, thief).findings
    assert findings.lost == {"thief": 1}


def test_the_audit_notices_an_order_that_comes_again(tmp_path: Path) -> None:
    findings = sabotage(tmp_path, forger).findings
    assert findings.after_end["forger"] >= 1
    assert not findings.lost


def test_the_audit_notices_two_owners(tmp_path: Path) -> None:
    findings = sabotage(tmp_path, double).findings
    assert findings.two_owners["double"] >= 1


def test_the_audit_notices_books_that_do_not_balance(tmp_path: Path) -> None:
    findings = sabotage(tmp_path, leave_a_lie).findings
    assert any("unaccounted" in fault for fault in findings.faults)
