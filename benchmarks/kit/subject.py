"""What is measured: this worker, the naive loop, or a peer, each behind the same few methods."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.kit import orders
from benchmarks.kit.ground import Ground
from benchmarks.kit.machine import WORKER_CORE, on_core
from benchmarks.kit.progress import Progress, booked, marked
from tests.support.process import RunningProcess
from tests.support.worker import RunningWorker

PROGRAMS = Path(__file__).parents[1] / "programs"
_MARKS_A_RUN = 50
_EACH = ("note", "stick")


@dataclass(frozen=True)
class Work:
    """kind: what the handler does, a function of programs/handlers.py. many: orders of the run."""

    kind: str
    many: int

    def env(self, ground: Ground) -> dict[str, str]:
        """What the programs of this folder read."""
        every = 1 if self.kind in _EACH else max(1, self.many // _MARKS_A_RUN)
        return {
            "BENCH_KIND": self.kind,
            "BENCH_MARKS": str(ground.marks),
            "BENCH_EVERY": str(every),
            "BENCH_REDIS_PORT": str(ground.server.port),
        }


class Subject(Protocol):
    """name, settings, guarantee: for the table."""

    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> str: ...
    @property
    def guarantee(self) -> str: ...

    def fill(self, ground: Ground, many: int) -> None:
        """Enqueue so many orders."""

    def start(self, ground: Ground, work: Work) -> RunningProcess:
        """A worker on its core."""

    def progress(self, ground: Ground) -> Progress:
        """How many orders are done."""


@dataclass(frozen=True)
class Ours:
    """`fulfillment-worker run` as users run it: statuses, events, metrics and probes on."""

    name: str = "fulfillment-worker"
    options: tuple[str, ...] = ()
    cores: tuple[int, ...] = (WORKER_CORE,)
    guarantee: str = "at least once; leases, retries, dead letters, a status for each order"

    @property
    def settings(self) -> str:
        return " ".join(self.options) or "defaults"

    def fill(self, ground: Ground, many: int) -> None:
        """See Subject."""
        orders.fill(ground.client, many)

    def start(self, ground: Ground, work: Work) -> RunningWorker:
        """See Subject."""
        folder = ground.folder / "shop"
        handler = f"from handlers import {work.kind} as fulfil\n"
        env = work.env(ground) | {"PYTHONPATH": f"{folder}:{PROGRAMS}"}
        with on_core(*self.cores):
            return RunningWorker(folder, ground.server.url, handler, self.options, env)

    def progress(self, ground: Ground) -> Progress:
        """Recorded in Redis, not only handled."""
        return booked(ground)


@dataclass(frozen=True)
class Naive:
    """What people write first: BRPOP, handle, again."""

    name: str = "naive BRPOP loop"
    settings: str = "redis-py with hiredis, one by one"
    guarantee: str = "none: an order is gone once it is popped"

    def fill(self, ground: Ground, many: int) -> None:
        """See Subject."""
        orders.fill(ground.client, many)

    def start(self, ground: Ground, work: Work) -> RunningProcess:
        """See Subject."""
        with on_core(WORKER_CORE):
            return RunningProcess(
                [sys.executable, str(PROGRAMS / "naive.py")], env=work.env(ground)
            )

    def progress(self, ground: Ground) -> Progress:
        """See Subject."""
        return marked(ground)
