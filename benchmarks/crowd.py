"""How much a thousand hostile clients of the metrics port slow consuming down: pairs of drains.

    .venv/bin/python -m benchmarks.crowd [--orders N] [--at-once N] [--clients N] [--rounds N]

Each round drains the same backlog once alone and once besieged; the ratio is that of a round. The
crowd runs on Redis's core: where that is busy, the worker's CPU is the better figure.
Meanwhile the worker is scraped as Prometheus would, and each scrape is timed.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from benchmarks.kit.drain import Drained, drain
from benchmarks.kit.figures import Figures, Report, quantile, table
from benchmarks.kit.ground import Ground, ground
from benchmarks.kit.machine import REDIS_CORE, on_core
from benchmarks.kit.rounds import in_turns
from benchmarks.kit.runs import arguments
from benchmarks.kit.subject import Ours, Work
from benchmarks.kit.watching import scrape_times
from tests.support.process import RunningProcess
from tests.support.worker import RunningWorker


@dataclass(frozen=True)
class Watched(Ours):
    """This worker, scraped four times a second, amid a crowd of so many. times: of the scrapes."""

    clients: int = 0
    times: list[float] | None = None
    stack: ExitStack | None = None

    def start(self, ground: Ground, work: Work) -> RunningWorker:
        """See Subject. It may claim once the crowd is there."""
        ground.client.hset("{orders}:books", "paused", 1)
        worker = super().start(ground, work)
        assert self.stack is not None
        if self.clients:
            command = ["-m", "tests.support.crowd", str(worker.metrics_port), str(self.clients)]
            with on_core(REDIS_CORE):
                crowd = self.stack.enter_context(RunningProcess([sys.executable, *command]))
            crowd.wait_for("the crowd is there")
        scraper = threading.Thread(target=self._scrape, args=(worker,), daemon=True)
        scraper.start()
        ground.client.hdel("{orders}:books", "paused")
        return worker

    def _scrape(self, worker: RunningWorker) -> None:
        while worker.returncode is None:
            try:
                self.times.extend(scrape_times(worker, 1, pause=0.25))  # type: ignore[union-attr]
            except OSError:
                time.sleep(1)  # It may have come to its end.
                if worker.returncode is None:
                    self.times.append(float("inf"))  # type: ignore[union-attr]


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("crowd")
    told = arguments("crowd", given, orders=400_000, at_once=1000, clients=1000, rounds=5)
    times: dict[int, list[float]] = {0: [], told.clients: []}

    def run(clients: int) -> Drained:
        with ExitStack() as stack, ground() as here:
            subject = Watched(clients=clients, times=times[clients], stack=stack)
            return drain(subject, here, Work("noop", told.orders, told.at_once))

    names = {"alone": 0, f"{told.clients} hostile clients": told.clients}
    found = in_turns({name: partial(run, clients) for name, clients in names.items()}, told.rounds)
    alone, besieged = found.values()
    ratios = [b.rate / a.rate for a, b in zip(alone, besieged, strict=True)]
    shares = [
        (b.worker_cpu - a.worker_cpu) * b.rate / 1e6 for a, b in zip(alone, besieged, strict=True)
    ]
    report.tell(
        table(
            ["no-op drain", "orders/s", "CPU µs", "worker MiB", "scrapes", "p50 ms", "most ms"],
            [
                [
                    name,
                    Figures(tuple(each.rate for each in found[name])).shown(),
                    Figures(tuple(each.worker_cpu for each in found[name])).shown(1),
                    Figures(tuple(each.memory for each in found[name])).shown(),
                    str(len(times[clients])),
                    *[f"{quantile(times[clients], share) * 1000:.0f}" for share in (0.5, 1.0)],
                ]
                for name, clients in names.items()
            ],
        )
    )
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    median = statistics.median(ratios)
    report.tell(f"besieged / alone, round by round: {shown}; median {median:.2f}")
    share = Figures(tuple(100 * share for share in shares)).shown(1)
    report.tell(f"CPU that the crowd costs the worker: {share} % of a core")
    report.save(
        {"ratios": ratios, "shares": shares, "seconds": {n: times[c] for n, c in names.items()}}
    )


if __name__ == "__main__":
    main()
