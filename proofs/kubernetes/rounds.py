"""Rounds from no worker to many and back, under load, by the queries of deploy/kubernetes.

Workers are real processes with the settings of the ConfigMap, and the stand-in for the scaler asks
a real Prometheus and a real Redis what the ScaledObject says. Workers are started as it wants, and
taken away by SIGTERM.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

import redis

from proofs.kubernetes.scaler import Scaler
from tests.support.eventually import PATIENCE, eventually
from tests.support.orders import Body, Books, books, place, statuses
from tests.support.process import free_port
from tests.support.prometheus import PrometheusServer
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

PASSWORD = "not the usual one"
COOLDOWN = 3.0
_POLL = 0.5
_BATCHES = 3
# Each twentieth order is told to come again, some of them when nothing else is left to do.
_RETRIED = 20
HANDLER = """
import asyncio
from fulfillment_worker import Retry

async def fulfil(order):
    if order.attempt == 1 and order.body.get("again"):
        raise Retry("not yet", after=order.body["again"])
    await asyncio.sleep(order.body.get("takes", 0))
"""


class Found(NamedTuple):
    """Of one round. reached: the most workers. retried: orders that came again."""

    reached: int
    starts: int
    seconds: float
    orders: int
    retried: int
    woken_by: list[str]


class Fleet:
    """The Deployment: as many workers as it is told. found_in: where Prometheus finds them."""

    def __init__(self, folder: Path, environment: dict[str, str], found_in: Path) -> None:
        self._folder = folder
        self._environment = environment
        self._found_in = found_in
        self._running: list[RunningWorker] = []
        self._ending: list[RunningWorker] = []
        self._ports: dict[int, int] = {}
        self._stack = ExitStack()
        self.all: list[RunningWorker] = []

    def __enter__(self) -> Self:
        self._announce()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def running(self) -> int:
        """Without those that were told to end."""
        return len(self._running)

    @property
    def gone(self) -> bool:
        """Whether there is none, not even one that is about to end."""
        return not (self._running or self._ending)

    def scale(self, wanted: int) -> None:
        """Start or end workers; returns at once."""
        while len(self._running) < wanted:
            self._start()
        while len(self._running) > wanted:
            youngest = self._running.pop()
            youngest.signal(signal.SIGTERM)
            self._ending.append(youngest)
        self._bury()
        self._announce()

    def kill(self) -> None:
        """SIGKILL to all of them, and none in their place."""
        for worker in self._running:
            worker.kill()
        self._running.clear()
        self._announce()

    def pause(self) -> None:
        """SIGSTOP to all of them: they are there, and can't be scraped."""
        for worker in self._running:
            worker.pause()

    def _start(self) -> None:
        port = free_port()
        worker = RunningWorker(
            self._folder / f"worker-{len(self.all)}",
            self._environment["FULFILLMENT_REDIS_URL"],
            HANDLER,
            ("--metrics-port", str(port)),
            env=self._environment,
        )
        self._ports[worker.pid] = port
        self.all.append(self._stack.enter_context(worker))
        self._running.append(worker)

    def _bury(self) -> None:
        """Forget those that have drained; a failure unless each ended well."""
        for worker in [*self._running, *self._ending]:
            code = worker.returncode
            assert code is None or (code == 0 and worker in self._ending), worker.output
            if code == 0:
                self._ending.remove(worker)

    def _announce(self) -> None:
        """Tell Prometheus, as the operator does for a PodMonitor."""
        targets = [f"127.0.0.1:{self._ports[each.pid]}" for each in self._running + self._ending]
        new = self._found_in.with_suffix(".new")
        new.write_text(json.dumps([{"targets": targets, "labels": {"namespace": "shop"}}]))
        new.replace(self._found_in)


class Deployment:
    """Redis, Prometheus, workers and scaler. As a context manager, it ends all that it started.

    resources: of deploy/kubernetes, as rendered. most: workers at once.
    """

    def __init__(self, folder: Path, resources: dict[str, dict[str, Any]], most: int) -> None:
        self._folder = folder
        self._resources = resources
        self.most = most
        self._placed: list[Body] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.redis = RedisServer(self._folder, "redis-7", "--requirepass", PASSWORD)
        self._stack.callback(self.redis.close)
        self.redis.start()
        found_in = self._folder / "found.json"
        environment = self._environment()
        self.redis.url = self.redis.url.replace("//", f"//:{PASSWORD.replace(' ', '%20')}@")
        self.fleet = self._stack.enter_context(Fleet(self._folder, environment, found_in))
        self.prometheus = self._stack.enter_context(
            PrometheusServer(self._folder / "prometheus", [], found_in=found_in, interval="500ms")
        )
        self.client: redis.Redis = self._stack.enter_context(self.redis.client())
        self.scaler = Scaler(
            self._resources["ScaledObject"],
            self.prometheus,
            self.client,
            most=self.most,
            cooldown=COOLDOWN,
            clock=time.monotonic,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _environment(self) -> dict[str, str]:
        """The ConfigMap's, but for where this Redis and its password are."""
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        settings: dict[str, str] = self._resources["ConfigMap"]["data"]
        return settings | {
            "FULFILLMENT_REDIS_URL": self.redis.url,
            "FULFILLMENT_REDIS_PASSWORD_FILE": str(secret),
        }

    def place(self, orders: Iterable[Body]) -> None:
        orders = list(orders)
        self._placed += orders
        place(self.redis, orders)

    def round(self, number: int, orders: int, takes: float) -> Found:
        """From none to `most` and back, with so many orders that take so many seconds each."""
        began, starts = time.monotonic(), len(self.fleet.all)
        batches = [
            [_order(f"{number}-{batch}-{each}", each, takes) for each in range(orders // _BATCHES)]
            for batch in range(_BATCHES)
        ]
        later = iter(batches)
        self.place(next(later))
        reached = self.follow_the_scaler(later)
        placed = [order for batch in batches for order in batch]
        assert next(later, None) is None, f"{reached} workers, so some orders were not placed"
        return Found(
            reached=reached,
            starts=len(self.fleet.all) - starts,
            seconds=time.monotonic() - began,
            orders=len(placed),
            retried=sum("again" in order for order in placed),
            woken_by=list(self.scaler.woken_by),
        )

    def follow_the_scaler(self, later: Iterable[list[Body]] = ()) -> int:
        """Ask it each half second, until all is done; returns the most workers there were.

        later: orders that come meanwhile, a batch whenever there are more workers than ever.
        """
        batches, reached, ends = iter(later), 0, time.monotonic() + 5 * PATIENCE
        while True:
            self.fleet.scale(self.scaler.wanted(self.fleet.running))
            if self.fleet.running > reached:
                reached = self.fleet.running
                self.place(next(batches, []))
            if self.done:
                return reached
            assert time.monotonic() < ends, f"{self.scaler.answers()}\n{self.books}"
            time.sleep(_POLL)  # the scaler's own pace; nothing is waited for

    def leave(self) -> bool:
        """Start no worker; whether all have ended."""
        self.fleet.scale(0)
        return self.fleet.gone

    @property
    def done(self) -> bool:
        """Whether every order that was placed is fulfilled, and every worker gone."""
        return self.fleet.gone and self.books.fulfilled == len(self._placed)

    @property
    def books(self) -> Books:
        return books(self.redis)

    def audit(self) -> None:
        """A failure unless nothing was lost, recovered, run twice or put aside."""
        ids = [str(order["order_id"]) for order in self._placed]
        assert set(statuses(self.redis, ids)) == {"fulfilled"}
        placed = len(ids)
        assert self.books == Books(
            waiting=0,
            in_flight=0,
            retrying=0,
            scheduled=0,
            dead=0,
            received=placed,
            fulfilled=placed,
            duplicates=0,
        )
        assert self.recovered == 0

    @property
    def recovered(self) -> float:
        """Orders recovered, by what any worker ever said of it, to Prometheus or in its log."""
        told = self.prometheus.value("sum(max_over_time(orders_recovered_total[1d]))")
        assert told is not None
        logged = [event for worker in self.fleet.all for event in worker.events("orders_recovered")]
        return told + len(logged)


def _order(order_id: str, number: int, takes: float) -> Body:
    order: Body = {"order_id": order_id, "takes": takes}
    if number % _RETRIED == 0:
        order["again"] = math.ceil(takes) + number % 5
    return order


def wait_until_retrying(deployment: Deployment, many: int) -> None:
    """Return when so many orders wait to be retried, and nothing else is to do."""
    eventually(
        lambda: deployment.books[:3] == (0, 0, many), what=f"{many} orders wait to be retried"
    )
