"""A deployment of its own for one fault: Redis, workers, and orders that come."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Self

import redis

from fulfillment_worker.monitoring.target import Target
from proofs.monitoring.watch import Job, Watch
from tests.support.eventually import eventually
from tests.support.process import free_port, run_cli
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

# What goes wrong is a word in a file that the test writes: `fail 30` is of a hundred orders.
HANDLER = """
import asyncio, os, resource, signal, time
from pathlib import Path

MODE = Path(os.environ["MODE"])
LEAKED, COUNT = [], 0
resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

async def fulfil(order):
    global COUNT
    COUNT += 1
    word, *numbers = MODE.read_text().split()
    share = float(numbers[0]) if numbers else 100
    # Spread over the hundred: of 3, each 33rd.
    struck = int(COUNT * share / 100) > int((COUNT - 1) * share / 100)
    if word == "fail" and struck:
        raise RuntimeError("the label printer is out of paper")
    elif word == "slow" and struck:
        await asyncio.sleep(float(numbers[1]))
    elif word == "hold":
        until = time.monotonic() + 60
        while MODE.read_text().startswith("hold") and time.monotonic() < until:
            await asyncio.sleep(0.1)
    elif word == "block":
        time.sleep(0.4)
    elif word == "stuck":
        while MODE.read_text() == "stuck":
            time.sleep(0.05)
    elif word == "leak":
        while len(LEAKED) < 220:
            LEAKED.append(open("/dev/null"))
    elif word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word != "leak":
        while LEAKED:
            LEAKED.pop().close()
"""
_OPTIONS = ("--lease", "1s", "--retry-base", "100ms", "--retry-cap", "1s", "--shutdown-grace", "1s")


class Scene:
    """One job of its own. As a context manager, it ends all that it started.

    target: how it is watched. workers: how many are started. rate: orders placed a second; may be
    changed at any time. options: of the workers.
    """

    def __init__(
        self,
        folder: Path,
        watch: Watch,
        target: Target,
        *,
        workers: int = 1,
        rate: float = 20,
        options: Iterable[str] = (),
    ) -> None:
        self.folder = folder
        self.watch = watch
        self.target = target
        self.rate = rate
        self.ports = [free_port() for _ in range(workers)]
        self._options = tuple(options)
        self._running: dict[int, RunningWorker] = {}
        self._numbers = itertools.count(1)
        self._ended = threading.Event()
        self._stack = ExitStack()

    @property
    def job(self) -> str:
        return self.target.job

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        self.mode("well")
        server = RedisServer(self.folder, "redis-7", persistent=True)
        self.redis = self._stack.enter_context(closing(server.start()))
        self.client: redis.Redis = self._stack.enter_context(self.redis.client())
        for port in self.ports:
            self.start(port)
        for port in self.ports:
            self[port].wait_until_ready()
        feeder = threading.Thread(target=self._feed, daemon=True)
        feeder.start()
        self._stack.callback(feeder.join, 5)
        self._stack.callback(self._ended.set)
        self.scrape()
        self.watch.await_up(self.job)
        return self

    def __exit__(self, *_: object) -> None:
        self.watch.remove(self.job)
        self._stack.close()

    def __getitem__(self, port: int) -> RunningWorker:
        return self._running[port]

    def scrape(self, *, dropped: str = "") -> None:
        """Have Prometheus scrape all workers, but for a metric that is dropped on the way."""
        self.watch.add(Job(self.target, self.ports, dropped))

    def mode(self, text: str) -> None:
        """How the handlers of all workers behave from now on."""
        new = self.folder / "mode.new"
        new.write_text(text)
        new.replace(self.folder / "mode")

    def start(self, port: int, *options: str) -> RunningWorker:
        """A worker with its metrics on this port."""
        worker = RunningWorker(
            self.folder / f"worker-{port}",
            self.redis.url,
            HANDLER,
            (*_OPTIONS, *self._options, "--metrics-port", str(port), *options),
            env={"MODE": str(self.folder / "mode")},
        )
        self._running[port] = self._stack.enter_context(worker)
        return worker

    def restart(self, port: int, *options: str) -> None:
        """End it if it runs, and start it on the same port."""
        with suppress(ProcessLookupError):
            self[port].signal(signal.SIGTERM)
        self[port].wait()
        self.start(port, *options).wait_until_ready()

    def run(self, *arguments: str) -> None:
        """A command of the program, as an operator calls it."""
        done = run_cli(*arguments, "--redis-url", self.redis.url)
        assert done.returncode == 0, done.stderr

    def place(self, many: int = 1) -> list[str]:
        """Push so many orders now; their ids."""
        ids = [f"{self.job}-{next(self._numbers)}" for _ in range(many)]
        self.push({"order_id": order_id, "enqueued_at": time.time()} for order_id in ids)
        return ids

    def push(self, orders: Iterable[dict[str, Any]]) -> None:
        for order in orders:
            self.client.lpush("orders", json.dumps(order))

    def _feed(self) -> None:
        while not self._ended.wait(1 / self.rate if self.rate else 0.1):
            if self.rate:
                with suppress(redis.RedisError):
                    self.place()

    def holders(self) -> dict[str, int]:
        """How many orders each worker holds, by the key of what it holds."""
        keys = [str(key, "utf-8") for key in self.client.scan_iter("{orders}:in_flight:*")]
        return {key: int(self.client.hlen(key)) for key in keys}

    def await_held(self, many: int, pid: int | None = None) -> str:
        """Wait until a worker (the one with this process id) holds so many; the key."""

        def found() -> str:
            return next(
                (
                    key
                    for key, held in self.holders().items()
                    if held >= many and (pid is None or f"-{pid}-" in key)
                ),
                "",
            )

        return eventually(found, what=f"a worker holds {many} orders")
