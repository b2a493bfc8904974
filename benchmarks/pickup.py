"""How soon an idle worker starts on a single order: from LPUSH to the start of the handler.

    .venv/bin/python -m benchmarks.pickup [ORDERS]

A real worker and a Redis of its own; both ends read CLOCK_MONOTONIC, which all processes of a
machine share. The worker is idle again before each order, as a blocked client in Redis shows.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.support.calls import NOTE, Calls
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

HANDLER = NOTE + '\nasync def fulfil(order):\n    note(order, "start")\n'


def main(orders: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            waits = measure(Path(folder), server, orders)
        finally:
            server.stop()
    p50, p99 = statistics.median(waits), statistics.quantiles(waits, n=100, method="inclusive")[98]
    print(
        f"pick-up of {orders} single orders by an idle worker: "
        f"p50 {p50 * 1000:.2f} ms, p99 {p99 * 1000:.2f} ms, max {max(waits) * 1000:.2f} ms"
    )


def measure(folder: Path, server: RedisServer, orders: int) -> list[float]:
    """Seconds from just before LPUSH to the handler's first line, for each order."""
    calls = Calls(folder / "calls")
    worker = RunningWorker(folder / "worker", server.url, HANDLER, env=calls.env)
    waits = []
    with worker, server.client() as client:
        worker.wait_until_ready()
        for number in range(orders):
            eventually(lambda: int(client.info("clients")["blocked_clients"]) == 1, what="idle")
            placed = time.monotonic()
            client.lpush("orders", f'{{"order_id": "P-{number}"}}')
            eventually(lambda number=number: calls.count() > number, what="started")  # type: ignore[misc]
            waits.append(calls.all()[-1].at - placed)
    return waits


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
