"""How many no-op orders a second: this worker, and the naive BRPOP loop, in turns.

    .venv/bin/python -m benchmarks.drain [ORDERS] [CONCURRENCY] [ROUNDS]

The worker (or the loop) runs on one core and Redis on another; metrics, statuses and events are
on. The time counts from the first order handled to the last one recorded.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import redis

from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.worker import RunningWorker

HANDLER = "async def fulfil(order):\n    pass\n"
WORKER_CORE, REDIS_CORE = 0, os.cpu_count() - 1 if os.cpu_count() else 0


def main(orders: int, concurrency: int, rounds: int) -> None:
    """Measure and print medians, with the least and the most."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            _pin(server)
            ours, naive = [], []
            for number in range(rounds):
                ours.append(_worker(server, Path(folder) / f"w{number}", orders, concurrency))
                naive.append(_loop(server, orders // 4))
        finally:
            server.close()
    print(f"worker, concurrency {concurrency}: {_figures(ours)} orders/s")
    print(f"naive BRPOP loop: {_figures(naive)} orders/s")
    print(f"ratio of the medians: {statistics.median(ours) / statistics.median(naive):.1f}")


def _figures(rates: list[float]) -> str:
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"


def _pin(server: RedisServer) -> None:
    with server.client() as client:
        os.sched_setaffinity(client.info("server")["process_id"], {REDIS_CORE})


def _fill(client: redis.Redis, orders: int) -> None:
    client.flushall()
    for start in range(0, orders, 1000):
        raws = [_order(n) for n in range(start, min(orders, start + 1000))]
        client.lpush("orders", *raws)


def _order(number: int) -> bytes:
    """309 bytes, as the peers' figures were taken with."""
    body = {"order_id": f"A-{number:07}", "items": [{"sku": "MUG-BLUE", "quantity": 2}]}
    padding = 309 - len(msgspec.json.encode(body | {"note": ""}))
    return msgspec.json.encode(body | {"note": "x" * padding})


def _worker(server: RedisServer, folder: Path, orders: int, concurrency: int) -> float:
    with server.client() as client:
        client.flushall()
        client.hset("{orders}:books", "paused", 1)
        options = ("--concurrency", str(concurrency))
        with RunningWorker(folder, server.url, HANDLER, options) as worker:
            os.sched_setaffinity(worker.pid, {WORKER_CORE})
            _fill(client, orders)
            before = time.monotonic()
            eventually(lambda: client.hget("{orders}:books", "fulfilled"), deadline=30)
            started = time.monotonic()
            eventually(
                lambda: int(client.hget("{orders}:books", "fulfilled") or 0) == orders,
                deadline=120,
            )
            took = time.monotonic() - started
            assert started - before < 30
    return orders / took


def _loop(server: RedisServer, orders: int) -> float:
    with server.client() as client:
        _fill(client, orders)
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {WORKER_CORE})
        started = time.monotonic()
        for _ in range(orders):
            popped = client.brpop(["orders"])
            msgspec.json.decode(popped[1])
        took = time.monotonic() - started
        os.sched_setaffinity(0, cores)
    return orders / took


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given + [40_000, 50, 3][len(given) :]))
