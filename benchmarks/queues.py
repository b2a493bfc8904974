"""Many queues in one worker, all idle but the least preferred: does an order's cost depend on them?

    .venv/bin/python -m benchmarks.queues [--queues N,N] [--orders N] [--seconds N]

For each number of queues: the time until the worker is ready, how many commands it sends while all
queues are idle, and how many no-op orders a second it handles of the last queue.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import redis

from benchmarks.kit import orders
from benchmarks.kit.figures import Report, table
from benchmarks.kit.ground import Ground, ground
from benchmarks.kit.runs import arguments
from benchmarks.kit.subject import Ours, Work
from benchmarks.kit.watching import commands_during

_PATIENCE = 120.0
_SETTLING = 3.0
_WARM, _LAST = 0.1, 0.9
"""Between these shares of the orders, the rate is taken."""


class Found(NamedTuple):
    """ready: seconds. idle: commands a second. rate: orders a second, of the last queue."""

    ready: float
    idle: float
    rate: float


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("queues")
    told = arguments("queues", given, queues="1,100,400,1000", orders=20_000, seconds=20)
    found = {}
    for many in map(int, told.queues.split(",")):
        with ground() as here:
            found[many] = _measure(here, many, told.orders, told.seconds)
    report.tell(_shown(found))
    report.save({"rows": {str(many): each._asdict() for many, each in found.items()}})


def _measure(here: Ground, many: int, each: int, seconds: float) -> Found:
    names = [f"queue-{number:04}" for number in range(many)]
    ours = Ours(options=("--queue", ",".join(names)))
    began = time.monotonic()
    with ours.start(here, Work("noop", each)) as worker:
        worker.wait_until_ready(deadline=_PATIENCE)
        ready = time.monotonic() - began
        time.sleep(_SETTLING)
        idle = commands_during(here, lambda: time.sleep(seconds)) / seconds
        return Found(ready, idle, _rate(here.client, names[-1], each))


def _rate(client: redis.Redis, queue: str, many: int) -> float:
    for batch in orders.batches(many):
        client.lpush(queue, *[orders.order(number) for number in batch])
    warm, warm_at = _wait(client, queue, _WARM * many)
    last, last_at = _wait(client, queue, _LAST * many)
    return (last - warm) / (last_at - warm_at)


def _wait(client: redis.Redis, queue: str, many: float) -> tuple[int, float]:
    """How many were fulfilled when it was that many or more, or patience ended; and when."""
    ends = time.monotonic() + _PATIENCE
    while True:
        done, now = int(client.hget(f"{{{queue}}}:books", "fulfilled") or 0), time.monotonic()
        if done >= many or now > ends:
            return done, now
        time.sleep(0.01)


def _shown(found: dict[int, Found]) -> str:
    return table(
        ["queues", "ready after s", "commands/s while idle", "orders/s of the last"],
        [
            [f"{many:,}", f"{each.ready:.1f}", f"{each.idle:.1f}", f"{each.rate:,.0f}"]
            for many, each in found.items()
        ],
    )


if __name__ == "__main__":
    main()
