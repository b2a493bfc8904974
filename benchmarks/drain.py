"""How many no-op orders a second: this worker, and the naive BRPOP loop, in turns.

    .venv/bin/python -m benchmarks.drain [--orders N] [--concurrency N,N] [--rounds N]

The worker (or the loop) runs on one core and Redis on another; metrics, statuses and events are
on. The rate is that of orders recorded as fulfilled, from a tenth of the way to nearly the end.
CPU per order is the steadier figure where the machine is noisy.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from benchmarks.kit.drain import Drained, DrainFigures, drain, gathered
from benchmarks.kit.figures import save, table
from benchmarks.kit.ground import ground
from benchmarks.kit.rounds import in_turns
from benchmarks.kit.subject import Naive, Ours, Subject, Work


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print medians, with the least and the most."""
    given = _parser().parse_args(arguments)
    subjects: list[Subject] = [
        *[
            Ours(f"fulfillment-worker, {each} at once", ("--concurrency", each))
            for each in given.concurrency.split(",")
        ],
        Naive(),
    ]
    figures = measure(subjects, given.orders, given.rounds)
    print(shown(figures))
    save("drain", {"orders": given.orders, "rows": as_json(figures)})


def measure(subjects: Sequence[Subject], orders: int, rounds: int) -> dict[str, DrainFigures]:
    """By the name of the subject. The naive loop gets a quarter of the orders."""
    runs = {subject.name: partial(_once, subject, orders) for subject in subjects}
    return {name: gathered(found) for name, found in in_turns(runs, rounds).items()}


def _once(subject: Subject, orders: int) -> Drained:
    many = orders // 4 if isinstance(subject, Naive) else orders
    with ground() as here:
        return drain(subject, here, Work("noop", many))


def shown(figures: dict[str, DrainFigures]) -> str:
    """The table; ratios are to the last row."""
    base = list(figures.values())[-1].rate.median
    return table(
        ["no-op drain", "orders/s", "x naive", "worker CPU µs/order", "Redis CPU µs/order"],
        [
            [
                name,
                each.rate.shown(),
                f"{each.rate.median / base:.1f}",
                each.worker_cpu.shown(1),
                each.redis_cpu.shown(1),
            ]
            for name, each in figures.items()
        ],
    )


def as_json(figures: dict[str, DrainFigures]) -> dict[str, dict[str, tuple[float, ...]]]:
    """All values of all rounds."""
    return {
        name: {column: found.values for column, found in each._asdict().items()}
        for name, each in figures.items()
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.drain")
    parser.add_argument("--orders", type=int, default=60_000)
    parser.add_argument("--concurrency", default="50,1000")
    parser.add_argument("--rounds", type=int, default=3)
    return parser


if __name__ == "__main__":
    main()
