"""The books under faults: `python -m proofs.monitoring.books SECONDS SEED`.

Faults hit a fleet under load, and `orders_unaccounted` is scraped from every worker each second:
it must be 0 each time (invariant 5).
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from proofs.chaos.fleet import Fleet
from proofs.chaos.ground import Ground
from proofs.chaos.load import Producer
from proofs.chaos.plan import make_plan
from proofs.chaos.record import Record
from proofs.chaos.sites import open_site

METRIC = "orders_unaccounted"


class Seen(NamedTuple):
    """values: how often each was scraped. refused: workers that were down at the moment.

    faults: those injected, by kind.
    """

    values: Counter[float]
    refused: int
    faults: Counter[str]
    fulfilled: int


class Scraper:
    """Scrapes every worker of a fleet each second, from a thread for each.

    One that is stopped, or not listening yet, keeps nobody from the others.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.values: Counter[float] = Counter()
        self.refused = 0
        self._fleet = fleet
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(slot,)) for slot in fleet]
        for thread in self._threads:
            thread.start()

    def _run(self, slot: int) -> None:
        while not self._ended.wait(1):
            try:
                value = self._fleet[slot].scrape()[METRIC]
            except (OSError, RuntimeError, AssertionError):
                value = None
            with self._lock:
                if value is None:
                    self.refused += 1
                else:
                    self.values[value] += 1

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(30)


def watch_the_books(folder: Path, seconds: float, seed: int) -> Seen:
    """Inject faults for so long; what the scrapes have seen."""
    (a_round, *_) = make_plan(100, seed)
    with ExitStack() as stack:
        site = stack.enter_context(open_site(folder, a_round.site))
        record = stack.enter_context(closing(Record(folder / "calls")))
        producer = Producer(site, random.Random(seed))
        stack.callback(producer.stop)
        fleet = stack.enter_context(closing(Fleet(folder / "worker", site, record.env)))
        ground = Ground(site, fleet, record, producer)
        fleet.start()
        producer.start()
        scraper = stack.enter_context(closing(Scraper(fleet)))
        faults: Counter[str] = Counter()
        ends = time.monotonic() + seconds
        for step in a_round.steps:
            if time.monotonic() >= ends:
                break
            ground.hold(step.pause)
            fault = step.fault(ground, random.Random(step.seed))
            ground.await_recovery(fault)
            faults[fault.kind] += 1
        fulfilled = sum(call.how == "ok" for call in record.finished)
        return Seen(scraper.values, scraper.refused, faults, fulfilled)


def main() -> int:
    """0 where every scrape said 0, and there were some."""
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="books-") as folder:
        seen = watch_the_books(Path(folder), seconds, seed)
    print(
        f"{sum(seen.faults.values())} faults of {len(seen.faults)} kinds, "
        f"{seen.fulfilled} attempts that succeeded\n"
        f"{sum(seen.values.values())} scrapes of {METRIC}, by value: {dict(seen.values)}; "
        f"{seen.refused} times a worker was down"
    )
    return 0 if set(seen.values) == {0.0} else 1


if __name__ == "__main__":
    sys.exit(main())
