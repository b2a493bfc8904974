"""What a durable Redis costs: this worker, and nothing but the writes that it promises.

    .venv/bin/python -m benchmarks.durable [--orders N] [--rounds N]

Both drain once on a Redis that keeps all in memory, and once with `appendonly yes` and
`appendfsync everysec`. The promised writes are one script for many orders, without a queue, without
leases and without a worker: a status when an order starts and when it is fulfilled, an event for
each, and the expiry. Where Redis is what limits a worker, that tells how much of its loss is in the
promises. Where handlers do something, Redis isn't: the last rows have handlers of 10 ms.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.kit.drain import Drained
from benchmarks.kit.figures import Report
from benchmarks.kit.ground import ground
from benchmarks.kit.machine import WORKER_CORE, on_core
from benchmarks.kit.runs import (
    DURABLE,
    DrainFigures,
    arguments,
    as_json,
    drain_run,
    drain_table,
    drains,
)
from benchmarks.kit.subject import Ours, Work
from benchmarks.waits import AT_ONCE

OURS, PROMISES = "fulfillment-worker, 1000 at once", "the promised writes alone"
WAITING = f"fulfillment-worker, 10 ms of waiting, {AT_ONCE} at once"
SUFFIX = ", appendonly everysec"
BATCH, ON_THE_WAY = 250, 4
"""Orders of one script, and scripts that are sent before the first reply is read."""

PROMISED = """
local call = redis.call
local clock = call('TIME')
local now = string.format('%d', clock[1] * 1000 + math.floor(clock[2] / 1000))
call('XTRIM', '{orders}:events', 'MAXLEN', '~', 10000)
local function tell(id, status)
  call('XADD', '{orders}:events', '*',
    'order_id', id, 'status', status, 'attempt', '1', 'at', now)
end
for _, id in ipairs(ARGV) do
  local key = '{orders}:order:' .. id
  call('HSET', key, 'status', 'processing', 'attempt', '1', 'worker', 'worker-1234-0123abcd',
    'queued_at', now, 'started_at', now)
  tell(id, 'processing')
  call('HSET', key, 'status', 'fulfilled', 'finished_at', now)
  call('PEXPIRE', key, '604800000')
  tell(id, 'fulfilled')
end
"""


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("durable")
    told = arguments("durable", given, orders=60_000, rounds=3)
    figures = drains(runs(told.orders), told.rounds)
    report.tell(drain_table("drain", figures))
    for name in (OURS, PROMISES, WAITING):
        report.tell(f"{name}: {_loss(figures, name):.0%} less with an append-only file")
    report.save({"orders": told.orders, "rows": as_json(figures)})


def runs(orders: int) -> dict[str, Callable[[], Drained]]:
    """Each, in memory and durable."""
    work, waiting = Work("noop", orders, 1000), Work("wait", orders // 2, AT_ONCE)
    return {
        OURS: drain_run(Ours(), work),
        OURS + SUFFIX: drain_run(Ours(), work, *DURABLE),
        PROMISES: partial(promised, orders),
        PROMISES + SUFFIX: partial(promised, orders, *DURABLE),
        WAITING: drain_run(Ours(), waiting),
        WAITING + SUFFIX: drain_run(Ours(), waiting, *DURABLE),
    }


def promised(orders: int, *redis_options: str) -> Drained:
    """The writes alone; there is no worker, so its CPU and memory are 0."""
    with ground(*redis_options) as here:
        sha = here.client.script_load(PROMISED)
        cpu, began = here.redis_cpu(), time.monotonic()
        with on_core(WORKER_CORE):
            _write(here.client.connection_pool.get_connection(), sha, orders)
        seconds, cpu = time.monotonic() - began, here.redis_cpu() - cpu
        keys = here.client.dbsize()
    if keys != orders + 1:
        raise RuntimeError(f"{keys} keys were written for {orders} orders and their events")
    return Drained(orders / seconds, 0.0, cpu / orders * 1e6, 0.0)


def _write(connection: Any, sha: str, orders: int) -> None:
    batches = range(0, orders, BATCH)
    for number, first in enumerate(batches):
        ids = [f"A-{each:08}" for each in range(first, min(first + BATCH, orders))]
        connection.send_command("EVALSHA", sha, 0, *ids)
        if number >= ON_THE_WAY:
            connection.read_response()
    for _ in batches[:ON_THE_WAY]:
        connection.read_response()


def _loss(figures: dict[str, DrainFigures], name: str) -> float:
    return 1 - figures[name + SUFFIX].rate.median / figures[name].rate.median


if __name__ == "__main__":
    main()
