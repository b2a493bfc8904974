"""Five minutes in the life of three workers, with what can go wrong, one by one."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import redis

from fulfillment_worker.monitoring.target import Target
from fulfillment_worker.monitoring.write import files
from tests.support.otlp import collecting
from tests.support.process import free_port
from tests.support.prometheus import PrometheusServer
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

# Windows of 5 minutes become 15 seconds, those of 3 days some hours; names stay as they are.
TARGET = Target(queues=("rush", "orders"), scale=1 / 20, late_after=30)
LENGTH = 285.0
"""Seconds."""

HANDLER = """
import asyncio, random, time
from pathlib import Path
from fulfillment_worker import Reject, Retry

async def fulfil(order):
    kind = order.body["kind"]
    if Path("../carrier_is_down").exists():
        await asyncio.sleep(0.05)
        raise ConnectionError("the carrier is down")
    if kind == "unknown":
        raise Reject("no such SKU")
    if kind == "unlucky" and order.attempt == 1:
        raise Retry("the depot is busy")
    if kind == "blocks":
        time.sleep(3)
    if kind == "long":
        await asyncio.sleep(3)
    slow = kind == "slow"
    await asyncio.sleep(random.lognormvariate(-1.2 if slow else -3, 0.35))
"""


class Chapter(NamedTuple):
    """Something that happens. at: seconds since the beginning. ends: 0 where it is a moment."""

    mark: str
    at: float
    ends: float


# What happens, says STORY in the dashboards' reference.py.
CHAPTERS = (
    Chapter("a", 25, 45),
    Chapter("b", 58, 0),
    Chapter("c", 75, 110),
    Chapter("d", 130, 142),
    Chapter("e", 165, 0),
    Chapter("f", 185, 205),
    Chapter("g", 245, 0),
    Chapter("h", 255, 0),
)
BY_MARK = {chapter.mark: chapter for chapter in CHAPTERS}


class Producer(threading.Thread):
    """Places orders all the time, as a shop would; what it can't place, it forgets."""

    def __init__(self, server: RedisServer, began: float) -> None:
        super().__init__(daemon=True)
        self._client = server.client(socket_timeout=1)
        self._began = began
        self._enough = threading.Event()
        self._random = random.Random(1)
        self._placed = 0

    def run(self) -> None:
        while not self._enough.wait(0.1):
            now = time.time() - self._began
            with suppress(redis.RedisError):
                self.place(self._kinds(now))

    def place(self, kinds: list[str]) -> None:
        with self._client.pipeline(transaction=False) as pipe:
            for kind in kinds:
                queue = "rush" if self._random.random() < 0.2 else "orders"
                pipe.lpush(queue, self._order(kind))
            pipe.execute()

    def place_rubbish(self) -> None:
        self._client.lpush("orders", b"{", b"[]", b'{"no": "id"}')

    def stop(self) -> None:
        self._enough.set()
        self.join(10)
        self._client.close()

    def _kinds(self, now: float) -> list[str]:
        rate = 80 + 20 * math.sin(now / 12)
        if _during("f", now):
            rate *= 9
        return [self._kind(now) for _ in range(round(rate / 10))]

    def _kind(self, now: float) -> str:
        chance = self._random.random()
        if _during("a", now) and chance < 0.1:
            return "unlucky"
        return "slow" if chance > 0.95 else "usual"

    def _order(self, kind: str) -> str:
        self._placed += 1
        return json.dumps(
            {"order_id": f"A-{self._placed}", "kind": kind, "enqueued_at": time.time()}
        )


def _during(mark: str, now: float) -> bool:
    chapter = BY_MARK[mark]
    return chapter.at <= now < chapter.ends


class Fleet:
    """Three workers that keep their ports."""

    def __init__(self, folder: Path, url: str, collector: str) -> None:
        self._folder, self._url = folder, url
        # One order in twenty is traced.
        self._env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
            "OTEL_TRACES_SAMPLER": "traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.05",
        }
        self._ports = [free_port() for _ in range(3)]
        self._workers = [self._start(number) for number in range(3)]

    @property
    def targets(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self._ports]

    def __getitem__(self, number: int) -> RunningWorker:
        return self._workers[number]

    def restart(self, number: int) -> None:
        self._workers[number] = self._start(number)

    def close(self) -> None:
        for worker in self._workers:
            worker.close()

    def _start(self, number: int) -> RunningWorker:
        options = (
            *("--queue", "rush,orders", "--concurrency", "8", "--lease", "5s"),
            *("--retry-base", "1s", "--retry-cap", "8s", "--max-attempts", "4"),
            *("--metrics-port", str(self._ports[number])),
        )
        folder = self._folder / f"worker-{number}"
        return RunningWorker(folder, self._url, HANDLER, options, env=self._env)


class Stage(NamedTuple):
    """Where it all happens. began: Unix time."""

    folder: Path
    server: RedisServer
    fleet: Fleet
    producer: Producer
    prometheus: PrometheusServer
    began: float

    def wait_until(self, seconds: float) -> None:
        time.sleep(max(0.0, self.began + seconds - time.time()))


def play(folder: Path, say: Callable[[str], None]) -> Iterator[Stage]:
    """The stage, once the story has been told on it; it is cleared afterwards."""
    with ExitStack() as stack:
        stage = _set(folder, stack)
        for at, act in sorted(_acts(stage), key=lambda pair: pair[0]):
            stage.wait_until(at)
            say(f"{at:5.0f} s  {act.__name__.strip('_').replace('_', ' ')}")
            act(stage)
        stage.wait_until(LENGTH)
        yield stage


def _set(folder: Path, stack: ExitStack) -> Stage:
    server = RedisServer(folder, persistent=True).start()
    stack.callback(server.close)
    collector = stack.enter_context(collecting())
    fleet = Fleet(folder, server.url, collector.url)
    stack.callback(fleet.close)
    for number in range(3):
        fleet[number].wait_until_ready()
    for name, content in files(TARGET).items():
        if name.endswith(".yaml"):
            (folder / name).write_text(content)
    prometheus = stack.enter_context(
        PrometheusServer(
            folder / "prometheus",
            fleet.targets,
            interval="1s",
            rule_files=sorted(folder.glob("*.yaml")),
            flags=["--enable-feature=exemplar-storage"],
        )
    )
    prometheus.wait_for_scrape()
    began = time.time()
    producer = Producer(server, began)
    producer.start()
    stack.callback(producer.stop)
    return Stage(folder, server, fleet, producer, prometheus, began)


Act = Callable[[Stage], None]


def _acts(stage: Stage) -> list[tuple[float, Act]]:
    at = BY_MARK
    return [
        (at["b"].at, _place_what_ends_as_dead_letters),
        (at["c"].at, _the_carrier_goes_down),
        (at["c"].ends, _the_carrier_is_back),
        (at["d"].at, _redis_stops),
        (at["d"].ends, _redis_starts),
        (at["e"].at, _kill_a_worker),
        (at["e"].at + 6, _start_it_again),
        (at["g"].at, _block_a_loop),
        (at["h"].at, _drain_a_worker),
    ]


def _place_what_ends_as_dead_letters(stage: Stage) -> None:
    stage.producer.place(["unknown"] * 8)
    stage.producer.place_rubbish()


def _the_carrier_goes_down(stage: Stage) -> None:
    (stage.folder / "carrier_is_down").touch()


def _the_carrier_is_back(stage: Stage) -> None:
    (stage.folder / "carrier_is_down").unlink()


def _redis_stops(stage: Stage) -> None:
    stage.server.stop()


def _redis_starts(stage: Stage) -> None:
    stage.server.start()


def _kill_a_worker(stage: Stage) -> None:
    stage.fleet[2].kill()


def _start_it_again(stage: Stage) -> None:
    stage.fleet.restart(2)


def _block_a_loop(stage: Stage) -> None:
    stage.producer.place(["blocks"])


def _drain_a_worker(stage: Stage) -> None:
    stage.producer.place(["long"] * 9)
    stage.wait_until(BY_MARK["h"].at + 1)
    code = stage.fleet[1].terminate()
    assert code == 0, stage.fleet[1].output
    stage.fleet.restart(1)
