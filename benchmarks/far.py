"""A Redis far away: how soon a worker is ready, and how soon it goes on after it was cut off.

    .venv/bin/python -m benchmarks.far [--latency MS]

latency: of a round trip, in milliseconds, by a link before every server. All kinds of address are
measured at the same time, since they mostly wait; each has a Redis and a worker of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.kit.figures import Report, table
from benchmarks.kit.runs import arguments
from tests.support.far import KINDS, Far, far_away
from tests.support.orders import bodies, place, wait_until_all
from tests.support.worker import RunningWorker

PATIENCE = 120.0
"""Seconds after which it is given up."""


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("far")
    latency = arguments("far", given, latency=500).latency / 1000
    with ThreadPoolExecutor(len(KINDS)) as pool:
        rows = dict(zip(KINDS, pool.map(lambda kind: measured(kind, latency), KINDS), strict=True))
    heads = [f"Redis at {latency * 1000:g} ms", "ready after s", "next order after a cut, s"]
    told = [[kind, f"{ready:.1f}", f"{again:.1f}"] for kind, (ready, again) in rows.items()]
    report.tell(table(heads, told))
    report.save({"latency": latency, "seconds": rows})


def measured(kind: str, latency: float) -> tuple[float, float]:
    """Seconds from the start of the process until it is ready, and from a cut of all connections
    until the next order is fulfilled.
    """
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with far_away(folder / "far", kind, latency / 2) as far:
            started = time.monotonic()
            with RunningWorker(folder / "worker", far.url) as worker:
                worker.wait_until_ready(deadline=PATIENCE)
                ready = time.monotonic() - started
                fulfils(far, "A")
                far.cut()
                cut = time.monotonic()
                fulfils(far, "B")
                return ready, time.monotonic() - cut


def fulfils(far: Far, prefix: str) -> None:
    """Place an order, and wait until it is fulfilled."""
    place(far.server, bodies(1, prefix))
    wait_until_all(far.server, bodies(1, prefix))


if __name__ == "__main__":
    main()
