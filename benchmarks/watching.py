"""What watching costs: the same drain unwatched, with metrics, scraped, and traced.

    .venv/bin/python -m benchmarks.watching [--orders N] [--rounds N] [--at-once N]

The figure to look at is the worker's CPU per order. There is no setting that turns metrics off:
programs/unwatched.py does, to show the difference.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from benchmarks.kit.figures import Report
from benchmarks.kit.ground import Ground
from benchmarks.kit.machine import REDIS_CORE, on_core
from benchmarks.kit.runs import DrainFigures, arguments, as_json, drain_run, drain_table, drains
from benchmarks.kit.subject import PROGRAMS, Ours, Work
from tests.support.process import RunningProcess
from tests.support.worker import RunningWorker

_SCRAPE_INTERVAL = 1.0
UNWATCHED, WATCHED = "not watched", "metrics, as it runs"


@dataclass(frozen=True)
class Scraped(Ours):
    """Prometheus comes by each second, from the start."""

    def start(self, ground: Ground, work: Work) -> RunningWorker:
        """See Subject."""
        worker = super().start(ground, work)
        threading.Thread(target=_scrape, args=(worker,), daemon=True).start()
        return worker


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("watching")
    told = arguments("watching", given, orders=100_000, rounds=3, at_once=1000)
    with _sink() as endpoint:
        figures = drains(
            {
                name: drain_run(subject, Work("noop", told.orders, told.at_once))
                for name, subject in subjects(endpoint).items()
            },
            told.rounds,
        )
    report.tell(drain_table("watching, no-op drain", figures, UNWATCHED))
    report.tell(_differences(figures))
    report.save({"orders": told.orders, "rows": as_json(figures)})


def subjects(endpoint: str) -> dict[str, Ours]:
    """endpoint: where traces go."""
    ratio = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}
    none, few = (ratio | {"OTEL_TRACES_SAMPLER_ARG": share} for share in ("0", "0.01"))
    traced = ("--traces", "otlp")
    # With room for what a busy second ends: what is dropped costs less than what is sent.
    there = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_MAX_QUEUE_SIZE": "200000"}
    return {
        UNWATCHED: Ours(program=(str(PROGRAMS / "unwatched.py"),)),
        WATCHED: Ours(),
        "and scraped each second": Scraped(),
        "and traces on, none sampled": Ours(options=traced, extra_env=there | none),
        "and 1 % of the orders traced": Ours(options=traced, extra_env=there | few),
        "and all orders traced": Ours(options=traced, extra_env=there),
    }


def _differences(figures: dict[str, DrainFigures]) -> str:
    base = figures[UNWATCHED].worker_cpu.median
    return "\n".join(
        f"{name}: {each.worker_cpu.median - base:+.1f} µs of CPU per order"
        for name, each in figures.items()
        if name != UNWATCHED
    )


def _scrape(worker: RunningWorker) -> None:
    with suppress(OSError, RuntimeError):  # it has ended
        while worker.returncode is None:
            worker.get("/metrics")
            time.sleep(_SCRAPE_INTERVAL)


@contextmanager
def _sink() -> Iterator[str]:
    """The address of a collector that forgets what it is told."""
    with (
        on_core(REDIS_CORE),
        RunningProcess([sys.executable, str(PROGRAMS / "sink.py")]) as process,
    ):
        port = process.wait_for(r"port (\d+)")[1]
        yield f"http://127.0.0.1:{port}"


if __name__ == "__main__":
    main()
