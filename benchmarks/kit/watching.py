"""Watching a running worker: scrapes with their times, commands that reach Redis, memory."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.kit import orders
from benchmarks.kit.figures import quantile
from benchmarks.kit.ground import Ground
from benchmarks.kit.machine import resident
from benchmarks.kit.progress import booked
from tests.support.eventually import eventually
from tests.support.worker import RunningWorker

_SENT_BY_WORKERS = {"fcall", "blmove", "blpop", "brpop", "ping", "info"}
"""Redis counts what functions do as if it had been sent, so what workers send has to be named."""


def scrape_times(worker: RunningWorker, many: int, pause: float = 0.01) -> list[float]:
    """Seconds that each of so many scrapes took, one after another."""
    return [_scrape_time(worker, pause) for _ in range(many)]


def _scrape_time(worker: RunningWorker, pause: float) -> float:
    time.sleep(pause)
    started = time.monotonic()
    status, _ = worker.get("/metrics", timeout=30)
    if status != 200:
        raise RuntimeError(f"/metrics answered {status}")
    return time.monotonic() - started


def shown_times(seconds: list[float]) -> list[str]:
    """p50, p99 and the longest, in milliseconds, as cells."""
    return [f"{quantile(seconds, share) * 1000:.1f}" for share in (0.5, 0.99, 1.0)]


def commands_during(here: Ground, deed: Callable[[], object]) -> int:
    """How many commands workers send to Redis while it is done."""
    here.client.config_resetstat()
    deed()
    return sum(calls for name, calls in here.server.commands().items() if name in _SENT_BY_WORKERS)


def feed(here: Ground, first: int, many: int, *, deadline: float = 120.0) -> None:
    """Place orders and wait until they are fulfilled, 50,000 at a time."""
    for start in range(first, first + many, 50_000):
        step = min(50_000, first + many - start)
        orders.fill(here.client, step, start)
        wait_until_booked(here, start + step, deadline=deadline)


def wait_until_booked(here: Ground, many: int, *, deadline: float = 120.0) -> None:
    """Return when so many orders are fulfilled."""
    eventually(
        lambda: booked(here).done >= many, deadline=deadline, what=f"{many} orders fulfilled"
    )


def mib(worker: RunningWorker) -> float:
    """MiB of memory that the worker and its children hold."""
    return resident(worker.pid) / 2**20
