"""Scrapes of a worker under full load, with a large backlog; and what they cost Redis.

.venv/bin/python -m benchmarks.scrape [--scrapes N] [--load N] [--backlog N] [--seconds N]
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.kit import orders
from benchmarks.kit.figures import Report, table
from benchmarks.kit.ground import ground
from benchmarks.kit.progress import booked
from benchmarks.kit.runs import arguments
from benchmarks.kit.subject import Ours, Work
from benchmarks.kit.watching import commands_during, scrape_times, shown_times, wait_until_booked

AT_ONCE = 1000


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("scrape")
    told = arguments("scrape", given, scrapes=200, load=400_000, backlog=1_000_000, seconds=10)
    times = {
        f"full load, {many:,} orders": under_load(many, told.scrapes)
        for many in (told.load, told.backlog)
    }
    without, with_scrapes = idle_commands(told.scrapes, told.seconds)
    report.tell(
        table(
            [f"{told.scrapes} scrapes", "p50 ms", "p99 ms", "most ms"],
            [[name, *shown_times(found)] for name, found in times.items()],
        )
    )
    report.tell(
        f"commands to Redis by an idle worker in {told.seconds} s: {without} without scrapes, "
        f"{with_scrapes} with {told.scrapes}"
    )
    report.save({"seconds": times, "commands": {"without": without, "with": with_scrapes}})


def under_load(many: int, scrapes: int) -> list[float]:
    """The times of the scrapes, all while orders flow."""
    with ground() as here:
        orders.fill(here.client, many)
        with Ours().start(here, Work("noop", many, AT_ONCE)) as worker:
            wait_until_booked(here, 1)
            times = scrape_times(worker, scrapes)
            if booked(here).done == many:
                raise SystemExit(f"{many} orders are too few for {scrapes} scrapes: give more")
    return times


def idle_commands(scrapes: int, seconds: int) -> tuple[int, int]:
    """In so many seconds, without and with scrapes."""

    def scraped() -> None:
        ends = time.monotonic() + seconds
        scrape_times(worker, scrapes, pause=0.9 * seconds / scrapes / 2)
        time.sleep(max(0.0, ends - time.monotonic()))

    with ground() as here, Ours().start(here, Work("noop", 1)) as worker:
        worker.wait_until_ready()
        time.sleep(2)  # what it says at its start is over
        without = commands_during(here, lambda: time.sleep(seconds))
        return without, commands_during(here, scraped)


if __name__ == "__main__":
    main()
