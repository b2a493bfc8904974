"""What is measured: this worker, the naive loop, or a peer, each behind the same few methods."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from benchmarks.kit import orders
from benchmarks.kit.ground import Ground
from benchmarks.kit.machine import WORKER_CORE, on_core
from benchmarks.kit.progress import Progress, booked, marked
from tests.support.process import RunningProcess, environment
from tests.support.worker import RunningWorker

PROGRAMS = Path(__file__).parents[1] / "programs"
_MARKS_A_RUN = 50
_TELLING_EACH = ("note", "stick", "arrived", "arrived_wait")
_PRODUCER_PATIENCE = 300.0


@dataclass(frozen=True)
class Work:
    """kind: what the handler does, a function of programs/handlers.py. many: orders of the run.

    at_once: orders in flight; None leaves it to the subject.
    """

    kind: str
    many: int
    at_once: int | None = None

    @property
    def every(self) -> int:
        """Handlers tell how far they are once in so many orders."""
        return 1 if self.kind in _TELLING_EACH else max(1, self.many // _MARKS_A_RUN)

    @property
    def last_told(self) -> int:
        """The number of the last order that handlers tell of."""
        return self.many - self.many % self.every

    def env(self, ground: Ground) -> dict[str, str]:
        """What the programs read."""
        return {
            "BENCH_KIND": self.kind,
            "BENCH_MARKS": str(ground.marks),
            "BENCH_EVERY": str(self.every),
            "BENCH_MANY": str(self.many),
            "BENCH_ORDER": orders.TEMPLATE,
            "BENCH_REDIS_PORT": str(ground.server.port),
        }


class Producer(NamedTuple):
    """How a producer is started. env: what it has besides what every program has."""

    command: Sequence[str]
    env: Mapping[str, str]


class Subject(Protocol):
    """name, settings, guarantee: for the table."""

    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> str: ...
    @property
    def guarantee(self) -> str: ...

    def fill(self, ground: Ground, work: Work) -> None:
        """Enqueue all orders of the run."""

    def producer(self, ground: Ground, work: Work, mode: str) -> Producer:
        """A program that enqueues orders as `mode` says: see programs/produce.py."""

    def start(self, ground: Ground, work: Work) -> RunningProcess:
        """A worker on its core."""

    def progress(self, ground: Ground) -> Progress:
        """How many orders are done."""


@dataclass(frozen=True)
class _OnTheList:
    """Its orders are put on the list `orders`, with nothing around them."""

    def fill(self, ground: Ground, work: Work) -> None:
        """See Subject."""
        orders.fill(ground.client, work.many)

    def producer(self, ground: Ground, work: Work, mode: str) -> Producer:
        """See Subject."""
        command = (sys.executable, str(PROGRAMS / "produce.py"), "plain", mode)
        return Producer(command, work.env(ground))


@dataclass(frozen=True)
class Ours(_OnTheList):
    """`fulfillment-worker run` as users run it: statuses, events, metrics and probes on.

    url: another way to the ground's Redis. program: what Python runs.
    """

    name: str = "fulfillment-worker"
    options: tuple[str, ...] = ()
    cores: tuple[int, ...] = (WORKER_CORE,)
    url: str | None = None
    extra_env: Mapping[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = ("-m", "fulfillment_worker")
    guarantee: str = "at least once; leases, retries, dead letters, a status for each order"

    @property
    def settings(self) -> str:
        return " ".join(self.options) or "defaults"

    def start(self, ground: Ground, work: Work) -> RunningWorker:
        """See Subject."""
        folder = ground.folder / "shop"
        handler = f"from handlers import {work.kind} as fulfil\n"
        options = self.options
        if work.at_once is not None:
            options = ("--concurrency", str(work.at_once), *options)
        env = work.env(ground) | {"PYTHONPATH": f"{folder}:{PROGRAMS}"} | dict(self.extra_env)
        with on_core(*self.cores):
            url = self.url or ground.server.url
            return RunningWorker(folder, url, handler, options, env, self.program)

    def progress(self, ground: Ground) -> Progress:
        """Recorded in Redis, not only handled."""
        return booked(ground)


@dataclass(frozen=True)
class Naive(_OnTheList):
    """What people write first: BRPOP, handle, again."""

    name: str = "naive BRPOP loop"
    settings: str = "redis-py with hiredis, one by one"
    guarantee: str = "none: an order is gone once it is popped"

    def start(self, ground: Ground, work: Work) -> RunningProcess:
        """See Subject."""
        with on_core(WORKER_CORE):
            return RunningProcess(
                [sys.executable, str(PROGRAMS / "naive.py")], env=work.env(ground)
            )

    def progress(self, ground: Ground) -> Progress:
        """See Subject."""
        return marked(ground)


def place_singly(subject: Subject, ground: Ground, work: Work) -> list[float]:
    """Enqueue one after another, each when the one before has been started.

    Returns when each was about to be enqueued (monotonic seconds).
    """
    return produced(subject.producer(ground, work, "singly"))


def produced(producer: Producer) -> list[float]:
    """Run a producer to its end; what it printed are times in nanoseconds."""
    command, env = producer
    done = subprocess.run(
        command,
        env=environment(env),
        capture_output=True,
        timeout=_PRODUCER_PATIENCE,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr.decode()}")
    return [int(line) / 1e9 for line in done.stdout.splitlines()]
