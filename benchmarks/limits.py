"""Limits of the fleet: orders a second with each kind of them, and what a key costs Redis.

    .venv/bin/python -m benchmarks.limits [--orders N] [--keys N] [--used N]

No-op orders with 1000 slots: without limits, with a rate that is never reached, with one that is,
and with one order at once for each of so many keys. Then the memory of keys that are in use: so
many orders of keys of their own in flight, and as many parked behind them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from benchmarks.kit.figures import Report, table
from benchmarks.kit.ground import Ground, ground
from benchmarks.kit.orders import batches
from benchmarks.kit.runs import arguments
from benchmarks.kit.subject import Ours, Work
from benchmarks.kit.watching import wait_until_booked
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.exchange import Exchange
from fulfillment_worker.core.outcome import Fulfilled, Outcome
from fulfillment_worker.queue.redis_queue import QueuePolicy, RedisQueue
from tests.support.process import run_cli

_AT_ONCE = 1000
_RATE = 5000
_WARM, _LAST = 0.1, 0.9
"""Between these shares of the orders, the rate is taken."""


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("limits")
    told = arguments("limits", given, orders=60_000, keys=10_000, used=100_000)
    found = {
        "no limits": _rate(told.orders, told.keys),
        "a rate of 1,000,000/s": _rate(told.orders, told.keys, "--rate", "1000000/s"),
        f"a rate of {_RATE:,}/s": _rate(told.orders, told.keys, "--rate", f"{_RATE}/s"),
        "40 in flight": _rate(told.orders, told.keys, "--in-flight", "40"),
        f"one at once of {told.keys:,} keys": _rate(told.orders, told.keys, "--per-key", "key"),
    }
    report.tell(
        table(["no-op orders, with", "orders/s"], [[n, f"{r:,.0f}"] for n, r in found.items()])
    )
    memory = _memory(told.used)
    report.tell(
        f"each of {told.used:,} keys in use takes {memory.held:.0f} bytes of Redis; an order that "
        f"waits for its key {memory.parked:.0f} more than its own; {memory.left:.0f} bytes are "
        "left when all have ended"
    )
    report.save({"orders_per_second": found, "bytes": memory._asdict()})


def _rate(many: int, keys: int, *limits: str) -> float:
    with ground() as here:
        _limit(here, *limits)
        for batch in batches(many):
            here.client.lpush("orders", *[_order(number, number % keys) for number in batch])
        with Ours().start(here, Work("noop", many, _AT_ONCE)):
            wait_until_booked(here, int(_WARM * many))
            done, began = _booked(here), time.monotonic()
            wait_until_booked(here, int(_LAST * many))
            return (_booked(here) - done) / (time.monotonic() - began)


def _booked(here: Ground) -> int:
    return int(here.client.hget("{orders}:books", "fulfilled") or 0)


def _limit(here: Ground, *limits: str) -> None:
    if limits:
        done = run_cli("limit", *limits, "--new", "--redis-url", here.server.url)
        if done.returncode:
            raise SystemExit(done.stderr)


def _order(number: int, key: int) -> str:
    return json.dumps({"order_id": f"A-{number:07}", "key": f"c-{key:06}"})


_HELD = ("key_holders", "held_keys")
_PARKED = ("parked", "parked_keys")
_POLICY = QueuePolicy(
    lease=600_000, status_ttl=60_000, max_orphanings=3, id_field="order_id", max_age=0
)


class _Memory(NamedTuple):
    """held: bytes of a key, while its order is in flight. parked: of an order that waits for it,
    beside its own. left: of all keys, when their orders have ended.
    """

    held: float
    parked: float
    left: float


def _memory(many: int) -> _Memory:
    with ground() as here:
        _limit(here, "--per-key", "key")
        for batch in batches(2 * many):
            here.client.lpush("orders", *[_order(number, number % many) for number in batch])
        return asyncio.run(_claim_all(here, many))


async def _claim_all(here: Ground, many: int) -> _Memory:
    """As one worker with as many slots would."""
    queue = RedisQueue("orders", RedisUrl.parse(here.server.url), _POLICY, lambda _: None)
    exchanges = _Exchanges(queue)
    while exchanges.holding < many:
        await exchanges.say(claim=500)
    while here.client.llen("orders"):
        await exchanges.say(claim=500)
    held = _used(here, _HELD) / many
    parked = _used(here, _PARKED) / many - len(_order(0, 0))
    while exchanges.holding:
        await exchanges.end(500)
        await exchanges.say(claim=500)
    await exchanges.say()
    await queue.close()
    return _Memory(held, parked, _used(here, (*_HELD, *_PARKED)))


class _Exchanges:
    """Of a worker that holds many orders."""

    def __init__(self, queue: RedisQueue) -> None:
        self._queue = queue
        self._number = 0
        self._next = 1
        self._held: dict[int, str] = {}

    @property
    def holding(self) -> int:
        return len(self._held)

    async def say(self, *, claim: int = 0, ended: Sequence[int] = ()) -> None:
        self._number += 1
        outcomes: list[Outcome] = [Fulfilled(each, self._held[each], 1) for each in ended]
        reply = await self._queue.exchange(
            Exchange(
                worker="benchmark",
                number=self._number,
                holding=len(self._held),
                first_delivery=self._next,
                claim=claim,
                outcomes=outcomes,
            )
        )
        self._next += claim
        for each in ended:
            del self._held[each]
        for claimed in reply.claimed:
            self._held[claimed.delivery] = json.loads(claimed.raw)["order_id"]

    async def end(self, many: int) -> None:
        await self.say(ended=list(islice(self._held, many)))


def _used(here: Ground, names: tuple[str, ...]) -> float:
    return float(
        sum(here.client.memory_usage(f"{{orders}}:{name}", samples=0) or 0 for name in names)
    )


if __name__ == "__main__":
    main()
