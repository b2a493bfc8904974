"""Large orders: how fast they drain, and how long they keep Redis from answering others.

    .venv/bin/python -m benchmarks.large [--mebibytes N] [--rounds N]

A queue of 256 MiB, of orders of 64, 256 and 900 KiB, with 1 and with 50 slots. Beside the worker,
another client sends PING every 2 ms. The slowest script is by Redis's own clock (SLOWLOG).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from benchmarks.kit.figures import Figures, Report, quantile, table
from benchmarks.kit.ground import Ground, ground
from benchmarks.kit.progress import booked
from benchmarks.kit.rounds import in_turns
from benchmarks.kit.runs import arguments
from benchmarks.kit.subject import Ours, Work
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

SIZES = (64, 256, 900)
"""KiB of an order."""
SLOTS = (1, 50)
_BATCH = 4 << 20
"""Bytes that are pushed at once."""
_PING_EVERY = 0.002
_PATIENCE = 120.0
_SCRIPTS = (b"FCALL",)


class Found(NamedTuple):
    """Of one run. rate: orders a second. slowest: seconds of one script. pings: seconds each."""

    rate: float
    slowest: float
    pings: list[float]


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("large")
    told = arguments("large", given, mebibytes=256, rounds=1)
    runs = {
        f"{size} KiB, {slots} at once": partial(_run, told.mebibytes, size, slots)
        for size in SIZES
        for slots in SLOTS
    }
    found = in_turns(runs, told.rounds)
    report.tell(_shown(found))
    report.save({name: [each._asdict() for each in some] for name, some in found.items()})


def _run(mebibytes: int, size: int, slots: int) -> Found:
    many = max(2, mebibytes * 1024 // size)
    with ground() as here:
        _fill(here, many, size * 1024)
        here.client.config_set("slowlog-log-slower-than", 500)
        here.client.config_set("slowlog-max-len", 100_000)
        here.client.slowlog_reset()
        work = Work("noop", many, slots)
        with Ours().start(here, work) as worker:
            worker.wait_until_ready(deadline=60)
            with _pinged(here.server) as pings:
                rate = _drained(here, worker, many)
        return Found(rate, _slowest(here), pings)


def _fill(here: Ground, many: int, size: int) -> None:
    """Orders of so many bytes, which differ in their id."""
    step = max(1, _BATCH // size)
    for first in range(0, many, step):
        numbers = range(first, min(many, first + step))
        here.client.lpush("orders", *[_order(number, size) for number in numbers])


def _order(number: int, size: int) -> bytes:
    whole = json.dumps({"order_id": f"A-{number:08}", "note": ""})
    return whole.replace('""', f'"{"x" * (size - len(whole))}"').encode()


def _drained(here: Ground, worker: RunningWorker, many: int) -> float:
    """Orders a second, from when this looks first to the last of them."""
    first, ends = booked(here), time.monotonic() + _PATIENCE
    while (now := booked(here)).done < many:
        if worker.returncode is not None or now.at > ends:
            raise RuntimeError(f"{now.done} of {many} orders were fulfilled:\n{worker.output}")
        time.sleep(0.02)
    return (now.done - first.done) / (now.at - first.at)


def _slowest(here: Ground) -> float:
    """Seconds of the slowest script; the least that Redis notes where none was slower."""
    entries = here.client.slowlog_get(100_000)
    scripts = [each for each in entries if each["command"].startswith(_SCRIPTS)]
    return max((float(each["duration"]) for each in scripts), default=500.0) / 1e6


@contextmanager
def _pinged(server: RedisServer) -> Iterator[list[float]]:
    """How long another client waits for each PING meanwhile."""
    pings: list[float] = []
    ended = threading.Event()
    thread = threading.Thread(target=_ping, args=(server, pings, ended.wait), daemon=True)
    thread.start()
    try:
        yield pings
    finally:
        ended.set()
        thread.join()


def _ping(server: RedisServer, pings: list[float], ended: Callable[[float], bool]) -> None:
    with server.client() as client:
        while not ended(_PING_EVERY):
            began = time.monotonic()
            client.ping()
            pings.append(time.monotonic() - began)


def _shown(found: dict[str, list[Found]]) -> str:
    return table(
        ["large orders", "orders/s", "MiB/s", "slowest script ms", "PING p50 ms", "p99 ms"],
        [_row(name, each) for name, each in found.items()],
    )


def _row(name: str, rounds: list[Found]) -> list[str]:
    rate = Figures(tuple(each.rate for each in rounds))
    size = int(name.split(maxsplit=1)[0])
    pings = [ping for each in rounds for ping in each.pings]
    return [
        name,
        rate.shown(),
        f"{rate.median * size / 1024:,.0f}",
        f"{max(each.slowest for each in rounds) * 1000:.1f}",
        *[f"{quantile(pings, share) * 1000:.1f}" for share in (0.5, 0.99)],
    ]


if __name__ == "__main__":
    main()
