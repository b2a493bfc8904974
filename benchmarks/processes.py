"""Two processes against one, where Redis isn't the limit.

    .venv/bin/python -m benchmarks.processes [--rounds N] [--seconds N]

A handler with 100 µs of CPU, and a plain function with 20 ms. Nothing is bound to a core: with two
processes, the workers and Redis share what there is. So quick handlers have many slots, which makes
an order cheaper for Redis; slow ones have few, so that both processes end at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.kit.drain import Drained, drain
from benchmarks.kit.figures import Report
from benchmarks.kit.ground import ground
from benchmarks.kit.machine import CORES
from benchmarks.kit.runs import arguments, as_json, drain_table, drains
from benchmarks.kit.subject import Ours, Work

KINDS = {
    "burn": ("100 µs of CPU, 200 at once", 0.0001, 200),
    "compute": ("20 ms of CPU, plain function, 8 at once", 0.02, 8),
}
"""What the handler does, seconds of it, and slots of each process."""


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("processes")
    told = arguments("processes", given, rounds=3, seconds=10)
    rows = {}
    for kind, (what, seconds, at_once) in KINDS.items():
        many = int(told.seconds / seconds)
        runs = {name(n): _run(n, Work(kind, n * many, at_once)) for n in (1, 2)}
        figures = drains(runs, told.rounds)
        report.tell(drain_table(what, figures, name(1)))
        rows[kind] = as_json(figures)
    report.save({"rows": rows})


def name(processes: int) -> str:
    """The row's name."""
    return "1 process" if processes == 1 else f"{processes} processes"


def _run(processes: int, work: Work) -> Callable[[], Drained]:
    ours = Ours(options=("--processes", str(processes)), cores=CORES)

    def run() -> Drained:
        with ground(cores=CORES) as here:
            return drain(ours, here, work)

    return run


if __name__ == "__main__":
    main()
