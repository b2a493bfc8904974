"""How soon an idle worker starts on a single order: from just before LPUSH to the handler.

    .venv/bin/python -m benchmarks.pickup [--orders N] [--rounds N]

Both ends read CLOCK_MONOTONIC, which all processes of a machine share. Between two orders the
worker is left idle for 100 to 200 ms.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from itertools import chain

from benchmarks.kit.figures import quantile, save, table
from benchmarks.kit.ground import ground
from benchmarks.kit.pickup import pickup
from benchmarks.kit.rounds import in_turns
from benchmarks.kit.subject import Naive, Ours, Subject

Waits = dict[str, list[float]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.pickup")
    parser.add_argument("--orders", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    waits = measure([Ours(), Naive()], given.orders, given.rounds)
    print(shown(waits))
    save("pickup", {"rows": waits})


def measure(subjects: Sequence[Subject], orders: int, rounds: int) -> Waits:
    """By the name of the subject, the waits of all rounds (seconds)."""
    runs = {subject.name: partial(_once, subject, orders) for subject in subjects}
    return {name: list(chain(*found)) for name, found in in_turns(runs, rounds).items()}


def _once(subject: Subject, orders: int) -> list[float]:
    with ground() as here:
        return pickup(subject, here, orders)


def shown(waits: Waits) -> str:
    """The table."""
    return table(
        ["pick-up, idle worker", "orders", "p50 ms", "p99 ms", "most ms"],
        [
            [
                name,
                str(len(found)),
                *[f"{quantile(found, share) * 1000:.2f}" for share in (0.5, 0.99, 1.0)],
            ]
            for name, found in waits.items()
        ],
    )


if __name__ == "__main__":
    main()
