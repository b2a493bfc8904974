"""Processes replaced one after another under one supervisor, scraped throughout.

Most of them are worn out by their first order; every fifth is killed. Whatever becomes of the
processes, no counter may fall, and no series may come or stay away.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from math import inf
from pathlib import Path
from typing import NamedTuple

from tests.support.eventually import eventually
from tests.support.orders import bodies, place
from tests.support.redis_server import RedisServer
from tests.support.worker import FULFIL_ALL, RunningWorker, Samples

_KILL_EVERY = 5
_ORDERS_AT_ONCE = 40
_GROWING = ("_total", "_count", "_sum", "_bucket")


class Found(NamedTuple):
    """fell: counters that did, with both values. came, went: series that the start did not have,
    and those of the start that the end does not.
    """

    replaced: int
    killed: int
    scrapes: int
    slowest: float
    seconds: float
    series: int
    fell: list[str]
    came: set[str]
    went: set[str]
    fulfilled: int
    counted: int


class Watcher:
    """Scrapes all the time, in a thread, and compares each page with the one before."""

    def __init__(self, worker: RunningWorker) -> None:
        self.first = self.last = worker.scrape()
        self.scrapes, self.missed, self.slowest = 0, 0, 0.0
        self.fell: list[str] = []
        self.came: set[str] = set()
        self._worker = worker
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._over.wait(0.2):
            before = time.perf_counter()
            try:
                page = self._worker.scrape()
            except ConnectionError:
                self.missed += 1  # a request that takes 5 s is ended; on a busy machine one may
                continue
            self.slowest = max(self.slowest, time.perf_counter() - before)
            self.compare(page)

    def compare(self, page: Samples) -> None:
        """Note what fell since the last page."""
        self.scrapes += 1
        self.came |= page.keys() - self.first.keys()
        for name, value in self.last.items():
            if name.partition("{")[0].endswith(_GROWING) and page.get(name, 0.0) < value:
                self.fell.append(f"{name} from {value} to {page.get(name)}")
        self.last = page


def replace(
    server: RedisServer, folder: Path, many: int, *, seats: int = 4, within: float = inf
) -> Found:
    """Have `many` processes replaced, `seats` at a time, and tell what was seen meanwhile.

    within: seconds after which it has to do with as many as there were.
    """
    options = ("--processes", str(seats), "--max-orders-per-process", "1")
    with RunningWorker(folder, server.url, FULFIL_ALL, options) as worker:
        worker.wait_until_ready()
        eventually(lambda: worker.get("/readyz")[1] == "ok\n", what="all processes consume")
        started = time.monotonic()
        with Watcher(worker) as watcher:
            killed = _wear_out(server, worker, many, started + within)
        seconds = time.monotonic() - started
        eventually(lambda: watcher.first.keys() == worker.scrape().keys(), what="the same series")
        watcher.compare(worker.scrape())
        assert worker.terminate() == 0
    with server.client() as client:
        fulfilled = int(client.hget("{orders}:books", "fulfilled") or 0)
    return Found(
        replaced=_ends(worker) - seats,
        killed=killed,
        scrapes=watcher.scrapes,
        slowest=watcher.slowest,
        seconds=seconds,
        series=len(watcher.last),
        fell=watcher.fell,
        came=watcher.came,
        went=watcher.first.keys() - watcher.last.keys(),
        fulfilled=fulfilled,
        counted=int(watcher.last.get_sample("orders_processed_total", status="success")),
    )


def _wear_out(server: RedisServer, worker: RunningWorker, many: int, ends: float) -> int:
    """Place orders, so that each process wears out; returns how many were killed instead."""
    killed = placed = 0
    while (ended := _ends(worker)) < many and time.monotonic() < ends:
        placed += 1
        place(server, bodies(_ORDERS_AT_ONCE, f"A{placed}"))
        if ended >= _KILL_EVERY * (killed + 1):
            killed += _kill(worker)
        time.sleep(0.2)  # as a producer would pause; nothing is waited for
    return killed


def _ends(worker: RunningWorker) -> int:
    return sum('"event": "process_ended"' in line for line in list(worker.lines))


def _kill(worker: RunningWorker) -> int:
    """SIGKILL to the process that was started last; 1 if it was there."""
    pid = worker.events("process_started")[-1]["pid"]
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1
