"""Thousands in flight, some of them slow: memory, and how long the others wait for their ack.

    .venv/bin/python -m benchmarks.many [--at-once N] [--orders N]

Each order waits for 0.2 s, every twentieth for 2 s. For the quick ones, the time from the end of
the handler to the order's `finished_at` is compared with the length of an exchange to Redis.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.kit import orders
from benchmarks.kit.figures import Report, quantile, table
from benchmarks.kit.ground import Ground, ground
from benchmarks.kit.runs import arguments
from benchmarks.kit.subject import Ours, Work
from benchmarks.kit.watching import mib, wait_until_booked
from tests.support.worker import RunningWorker

_SHARES = (0.2, 0.4, 0.6, 0.8)
_MOST_READ = 20_000


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("many")
    told = arguments("many", given, at_once=5000, orders=150_000)
    with ground() as here:
        orders.fill(here.client, told.orders)
        with Ours().start(here, Work("mixed", told.orders, told.at_once)) as worker:
            memory, in_flight = _watch(here, worker, told.orders)
            exchanges = worker.scrape()
        delays = ack_delays(here)
    operation = "fulfillment_redis_command_duration_seconds"
    exchange = exchanges.get_sample(
        f"{operation}_sum", operation="exchange"
    ) / exchanges.get_sample(f"{operation}_count", operation="exchange")
    report.tell(
        table(
            ["quick orders beside slow ones", "p50 ms", "p99 ms", "most ms"],
            [["from the handler's end to the ack", *[f"{each:.0f}" for each in _shares(delays)]]],
        )
    )
    report.tell(f"an exchange takes {exchange * 1000:.1f} ms on average")
    report.tell(f"in flight / MiB, along the way: {_pairs(in_flight, memory)}")
    report.save(
        {
            "delay_ms": _shares(delays),
            "exchange_ms": exchange * 1000,
            "mib": memory,
            "held": in_flight,
        }
    )


def _watch(here: Ground, worker: RunningWorker, many: int) -> tuple[list[float], list[float]]:
    memory, in_flight = [], []
    for share in _SHARES:
        wait_until_booked(here, int(many * share))
        memory.append(mib(worker))
        in_flight.append(worker.scrape().get_sample("orders_in_progress"))
    wait_until_booked(here, many)
    return memory, in_flight


def ack_delays(here: Ground) -> list[float]:
    """Milliseconds, for a share of the quick orders: as the handler and as Redis saw it."""
    lines = here.marks.read_text().splitlines()
    told = [line.split() for line in lines[:: 1 + len(lines) // _MOST_READ]]
    with here.client.pipeline(transaction=False) as pipe:
        for order_id, _ in told:
            pipe.hget(f"{{orders}}:order:{order_id}", "finished_at")
        finished = pipe.execute()
    return [int(at) - int(end) / 1e6 for at, (_, end) in zip(finished, told, strict=True)]


def _shares(values: list[float]) -> list[float]:
    return [quantile(values, share) for share in (0.5, 0.99, 1.0)]


def _pairs(in_flight: list[float], memory: list[float]) -> str:
    return ", ".join(
        f"{held:,.0f} / {used:.0f}" for held, used in zip(in_flight, memory, strict=True)
    )


if __name__ == "__main__":
    main()
