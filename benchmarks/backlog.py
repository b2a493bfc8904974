"""A million waiting, a hundred thousand due retries, as many dead: does anything get slower?

    .venv/bin/python -m benchmarks.backlog [--waiting N] [--others N] [--drained N] [--rounds N]

The dead and the retries are made by workers whose handlers reject and postpone. Beside them:
pick-up, the drain of the first orders, scrapes during it, and `queue`. The same is done on a queue
that is empty otherwise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.kit import orders
from benchmarks.kit.drain import drain_filled
from benchmarks.kit.figures import Figures, Report, quantile, table
from benchmarks.kit.ground import Ground, ground
from benchmarks.kit.pickup import pickup
from benchmarks.kit.runs import arguments
from benchmarks.kit.subject import Ours, Work
from benchmarks.kit.watching import scrape_times, wait_until_booked
from tests.support.eventually import eventually
from tests.support.process import run_cli

AT_ONCE = 1000
_SCRAPES = 100
_DEAD, _RETRYING, _FULFILLED, _WAITING = (n * 10_000_000 for n in range(1, 5))
"""The numbers of their first orders: ids must not come twice."""
_MAKE_DUE = """
for _, entry in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  redis.call('ZADD', KEYS[1], 1, entry)
end
"""


class Found(NamedTuple):
    """Of one state of the queue. rate: orders a second. Otherwise seconds."""

    rate: list[float]
    redis_cpu: list[float]
    pickup: list[float]
    scrapes: list[float]
    queue: list[float]


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("backlog")
    told = arguments(
        "backlog", given, waiting=1_000_000, others=100_000, drained=60_000, rounds=3, pickups=60
    )
    with ground() as here:
        small = _measure(here, told.drained * (told.rounds + 3), told)
    with ground() as here:
        size = _burden(here, told.others)
        large = _measure(here, told.waiting, told)
        size["waiting"] = _size_of_waiting(here, told.others)
    report.tell(_shown({"empty otherwise": small, "with the backlog": large}))
    report.tell(
        table(["order", "bytes in Redis"], [[name, f"{each:,.0f}"] for name, each in size.items()])
    )
    report.save({"small": small._asdict(), "large": large._asdict(), "bytes": size})


def _burden(here: Ground, many: int) -> dict[str, float]:
    """Make dead, retrying and fulfilled orders; returns what one of each takes, in bytes."""
    places = {
        "dead": ("reject", _DEAD, lambda: here.client.hlen("{orders}:dead")),
        "retrying": ("postpone", _RETRYING, lambda: here.client.zcard("{orders}:retry")),
        "fulfilled, for as long as its status is kept": (
            "noop",
            _FULFILLED,
            lambda: here.client.hget("{orders}:books", "fulfilled") or 0,
        ),
    }
    size = {}
    ours = Ours(options=("--breaker", "off"))
    for name, (kind, first, count) in places.items():
        before = _used(here)
        orders.fill(here.client, many, first)
        with ours.start(here, Work(kind, many, AT_ONCE)):
            eventually(lambda count=count: int(count()) == many, deadline=120, what=name)  # type: ignore[misc]
        size[name] = (_used(here) - before) / many
    return size


def _size_of_waiting(here: Ground, many: int) -> float:
    before = _used(here)
    orders.fill(here.client, many)
    return (_used(here) - before) / many


def _used(here: Ground) -> int:
    return int(here.client.info("memory")["used_memory"])


def _measure(here: Ground, waiting: int, told: argparse.Namespace) -> Found:
    """Pick-up first, while nothing waits: behind a million orders it would tell their time."""
    picked_up = pickup(Ours(), here, told.pickups).waits
    here.client.eval(_MAKE_DUE, 1, "{orders}:retry")
    orders.fill(here.client, waiting, _WAITING)
    work = Work("noop", told.drained, AT_ONCE)
    drained = [drain_filled(Ours(), here, work) for _ in range(told.rounds)]
    return Found(
        rate=[each.rate for each in drained],
        redis_cpu=[each.redis_cpu for each in drained],
        pickup=picked_up,
        scrapes=_scrapes(here),
        queue=[_queue_time(here) for _ in range(5)],
    )


def _scrapes(here: Ground) -> list[float]:
    already = int(here.client.hget("{orders}:books", "fulfilled") or 0)
    with Ours().start(here, Work("noop", 1, AT_ONCE)) as worker:
        wait_until_booked(here, already + 1)
        return scrape_times(worker, _SCRAPES)


def _queue_time(here: Ground) -> float:
    started = time.monotonic()
    done = run_cli("queue", "--json", "--redis-url", here.server.url)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.monotonic() - started


def _shown(found: dict[str, Found]) -> str:
    return table(
        ["queue", "orders/s", "Redis CPU µs", "pick-up p50/p99 ms", "scrape p50/p99 ms", "queue s"],
        [
            [
                name,
                Figures(tuple(each.rate)).shown(),
                Figures(tuple(each.redis_cpu)).shown(1),
                _two(each.pickup),
                _two(each.scrapes),
                Figures(tuple(each.queue)).shown(2),
            ]
            for name, each in found.items()
        ],
    )


def _two(seconds: list[float]) -> str:
    return " / ".join(f"{quantile(seconds, share) * 1000:.1f}" for share in (0.5, 0.99))


if __name__ == "__main__":
    main()
