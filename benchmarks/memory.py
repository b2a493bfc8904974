"""Memory of a worker: idle, after the first orders, and after many more.

.venv/bin/python -m benchmarks.memory [--first N] [--orders N]
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.kit.figures import Report, table
from benchmarks.kit.ground import ground
from benchmarks.kit.runs import arguments
from benchmarks.kit.subject import Ours, Work
from benchmarks.kit.watching import feed, mib


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("memory")
    told = arguments("memory", given, first=100_000, orders=1_000_000)
    with ground() as here, Ours().start(here, Work("noop", told.orders)) as worker:
        worker.wait_until_ready()
        idle = mib(worker)
        feed(here, 0, told.first)
        early = mib(worker)
        feed(here, told.first, told.orders - told.first)
        late = mib(worker)
    rows = {"idle": idle, f"after {told.first:,}": early, f"after {told.orders:,}": late}
    report.tell(
        table(["orders", "worker MiB"], [[name, f"{held:.1f}"] for name, held in rows.items()])
    )
    report.tell(f"growth from the first {told.first:,} to {told.orders:,}: {late / early - 1:+.1%}")
    report.save({"mib": rows})


if __name__ == "__main__":
    main()
