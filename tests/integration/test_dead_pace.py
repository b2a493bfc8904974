"""Dead letters are retried step by step, and the command goes on where it stood."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.calls import NOTE, Calls
from tests.support.eventually import eventually
from tests.support.orders import (
    bodies,
    books,
    dead_letters,
    order_hash,
    place,
    place_by_hand,
    stream,
    wait_until_all,
)
from tests.support.process import RunningProcess, run_cli
from tests.support.redis_server import RedisServer, wait_for_status
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]
Done = subprocess.CompletedProcess[str]

SHOP = (
    NOTE
    + """
from fulfillment_worker import Postpone

async def fulfil(order):
    note(order, "start")
    with open(os.environ["HOW"]) as file:
        how = file.read()
    if how == "reject" or (how == "some" and int(order.id.split("-")[1]) % 10 == 3):
        raise Reject("odd")
    if how == "postpone":
        raise Postpone("out of stock", after=3600)
    while how == "wait" and not os.path.exists(_gate):
        await asyncio.sleep(0.01)
    note(order, "end")
"""
)


class Scene:
    """Dead letters, and a shop that handles them again as it is told."""

    def __init__(self, server: RedisServer, start: Start, calls: Calls, folder: Path) -> None:
        self.server, self.calls = server, calls
        self._how = folder / "how"
        self.handles("reject")
        start(server.url, SHOP, "--breaker", "off", env={**calls.env, "HOW": str(self._how)})

    def handles(self, how: str) -> None:
        self._how.write_text(how)

    def bury(self, many: int) -> list[dict[str, Any]]:
        orders = bodies(many)
        place(self.server, orders)
        wait_until_all(self.server, orders, "dead")
        return orders

    def retry(self, *args: str) -> Done:
        return run_cli("dead", "retry", "--all", *args, "--redis-url", self.server.url)

    def retrying(self, *args: str) -> RunningProcess:
        command = [sys.executable, "-m", "fulfillment_worker", "dead", "retry", "--all", *args]
        return RunningProcess([*command, "--redis-url", self.server.url])

    def retried(self) -> int:
        return sum(entry["status"] == "retrying" for entry in stream(self.server))

    def wait_until_retried(self, many: int) -> None:
        eventually(lambda: self.retried() >= many, what=f"{many} are retried")

    def audited(self) -> list[int]:
        done = run_cli("audit", "--json", "--redis-url", self.server.url)
        return [act["count"] for act in json.loads(done.stdout) if act["act"] == "retry"]

    def is_over(self) -> bool:
        with self.server.client() as client:
            return not client.exists("{orders}:courses")


@pytest.fixture
def scene(redis_7: RedisServer, run_worker: Start, calls: Calls, tmp_path: Path) -> Scene:
    return Scene(redis_7, run_worker, calls, tmp_path)


def test_paced_retry_sends_one_first_and_the_rest_at_the_rate(scene: Scene) -> None:
    orders = scene.bury(30)
    scene.handles("fulfil")
    plan = scene.retry("--first", "1", "--rate", "20/s", "--dry-run")
    assert "would retry 30 dead letters: 1 first, the rest at 20/s when fulfilled" in plan.stdout
    done = scene.retry("--first", "1", "--rate", "20/s", "--json", "--why", "the carrier is back")
    assert done.returncode == 0, done
    told = json.loads(done.stdout)
    assert (told["retried"], told["left"], told["newer"], told["stopped"]) == (30, 0, 0, None)
    assert len(told["letters"]) == 30
    wait_until_all(scene.server, orders)
    (first,) = told["first"]
    entries = [entry for entry in stream(scene.server) if entry["status"] != "dead"]
    again = next(n for n, entry in enumerate(entries) if entry["status"] == "retrying")
    later = [(entry["order_id"], entry["status"]) for entry in entries[again:]]
    assert later[:3] == [(first, status) for status in ("retrying", "processing", "fulfilled")]
    rest = [int(e["at"]) for e in entries[again + 3 :] if e["status"] == "retrying"]
    assert len(rest) == 29
    burst, interval = 4, 50
    for n, at in enumerate(rest):
        for m in range(n + burst, len(rest)):
            assert rest[m] - at >= (m - n - burst) * interval - 10, "no more than the rate"
    assert scene.audited() == [30], "one line tells of all"
    assert scene.is_over()
    assert books(scene.server).unaccounted == 0


def test_paced_retry_stops_where_the_first_order_dies_again(scene: Scene) -> None:
    orders = scene.bury(10)
    was = dead_letters(scene.server)
    done = scene.retry("--first", "1", "--rate", "100/s")
    assert done.returncode == 1
    assert "which was retried first, is dead again: odd; 9 dead letters left" in done.stderr
    assert done.stdout == "retried 1 dead letter\n"
    assert [letter for letter in dead_letters(scene.server) if letter in was] == was[1:]
    assert (scene.audited(), scene.is_over()) == ([1], True)
    scene.handles("fulfil")
    assert scene.retry("--first", "2").returncode == 0
    wait_until_all(scene.server, orders)
    assert scene.audited() == [1, 10]


def test_paced_retry_waits_for_the_same_first_order_when_it_is_repeated(scene: Scene) -> None:
    orders = scene.bury(5)
    scene.handles("postpone")
    for _ in range(2):
        done = scene.retry("--first", "1")
        assert done.returncode == 1
        assert "which was retried first, was postponed: out of stock" in done.stderr
    assert "going on where an earlier run stood: 4 dead letters left" in done.stderr
    assert (len(dead_letters(scene.server)), scene.audited()) == (4, [1])
    scene.handles("fulfil")
    assert scene.retry().returncode == 0, "without --first, the rest need not wait"
    wait_until_all(scene.server, orders[1:])
    assert order_hash(scene.server, "A-0")["status"] == "postponed"


def test_paced_retry_that_is_killed_while_it_waits_goes_on_waiting(scene: Scene) -> None:
    orders = scene.bury(5)
    scene.handles("wait")
    before = scene.calls.count()
    with scene.retrying("--first", "1") as command:
        eventually(lambda: scene.calls.count() == before + 1, what="the first is handled")
        command.kill()
    with scene.retrying("--first", "1") as command:
        command.wait_for("waiting for A-0, which was retried first")
        assert scene.calls.count() == before + 1, "no second one went"
        scene.calls.open_gate()
        assert command.wait() == 0
    wait_until_all(scene.server, orders)
    assert scene.audited() == [1, 4]
    assert scene.is_over()


def test_paced_retry_that_is_killed_midway_retries_each_letter_once(scene: Scene) -> None:
    """Invariants 1 and 5. A tenth of the orders die again, and are not part of it any more."""
    orders = scene.bury(300)
    scene.handles("some")
    rate = ("--first", "1", "--rate", "100/s")
    for many in (40, 120, 200):
        with scene.retrying(*rate) as command:
            scene.wait_until_retried(many)
            command.kill()
    before = scene.retried()
    assert before < 300, "it was killed midway"
    done = scene.retry(*rate, "--json")
    assert done.returncode == 0, done
    told = json.loads(done.stdout)
    assert told["retried"] == 300 - before
    assert f"going on where an earlier run stood: {300 - before} dead letters left" in done.stderr
    good = [order for order in orders if not order["order_id"].endswith("3")]
    wait_until_all(scene.server, good)
    eventually(lambda: len(dead_letters(scene.server)) == 30, what="the others are dead again")
    assert set(Counter(scene.calls.ids()).values()) == {2}, "none was retried twice"
    assert sum(scene.audited()) == 300
    assert len(scene.audited()) == 4
    assert scene.is_over()
    assert books(scene.server).unaccounted == 0


def test_paced_retry_that_is_interrupted_says_how_many_were_done(scene: Scene) -> None:
    orders = scene.bury(60)
    scene.handles("fulfil")
    with scene.retrying("--rate", "10/s") as command:
        scene.wait_until_retried(6)
        command.signal(signal.SIGINT)
        assert command.wait() == 1
        said = command.wait_for(r"interrupted; (\d+) of 60 dead letters were certainly retried")
    assert scene.retried() - 2 <= int(said[1]) <= scene.retried()
    assert "Traceback" not in command.output
    assert scene.retry("--rate", "1000/s").returncode == 0
    wait_until_all(scene.server, orders)
    assert sum(scene.audited()) == 60


def test_paced_retry_refuses_what_it_can_not_follow(scene: Scene) -> None:
    place_by_hand(scene.server, [b"rubbish"])
    eventually(lambda: dead_letters(scene.server), what="it is dead")
    done = scene.retry("--first", "1")
    assert (done.returncode, "none of them can be followed" in done.stderr) == (1, True)
    assert len(dead_letters(scene.server)) == 1
    for wrong in (("--rate", "0/s"), ("--rate", "fast"), ("--first", "0")):
        done = scene.retry(*wrong)
        assert (done.returncode, wrong[0] in done.stderr) == (2, True)


def test_paced_retry_keeps_nothing_of_an_order_that_is_erased(scene: Scene) -> None:
    place(scene.server, [{"order_id": "Jane-Doe"}, {"order_id": "A-1"}])
    eventually(lambda: len(dead_letters(scene.server)) == 2, what="both are dead")
    scene.handles("postpone")
    args = ("dead", "retry", "Jane-Doe", "A-1", "--first", "2", "--redis-url", scene.server.url)
    assert run_cli(*args).returncode == 1
    wait_for_status(scene.server, "Jane-Doe", "postponed")
    with scene.server.client() as client:
        (course,) = client.hvals("{orders}:courses")
    assert b"Jane-Doe" in course
    assert run_cli("erase", "Jane-Doe", "--redis-url", scene.server.url).returncode == 0
    assert scene.is_over()
