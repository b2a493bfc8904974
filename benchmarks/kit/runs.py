"""Runs by name, in turns; their figures as a table and as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from benchmarks.kit.drain import Drained, drain
from benchmarks.kit.figures import Figures, quantile, table
from benchmarks.kit.ground import ground
from benchmarks.kit.pickup import PickedUp, side_by_side
from benchmarks.kit.rounds import in_turns
from benchmarks.kit.subject import Subject, Work

DURABLE = ("--appendonly", "yes", "--appendfsync", "everysec")
"""Redis's options for an append-only file that reaches the disk every second."""
_TOGETHER = 4
"""Workers that are idle side by side: with more, their orders would often meet."""


class DrainFigures(NamedTuple):
    """Several drains of one kind; the columns are those of Drained."""

    rate: Figures
    worker_cpu: Figures
    redis_cpu: Figures
    memory: Figures


class PickupFigures(NamedTuple):
    """waits: seconds, of all rounds. idle: MiB of memory of the idle worker, one for each round."""

    waits: list[float]
    idle: Figures


def drain_run(subject: Subject, work: Work, *redis_options: str) -> Callable[[], Drained]:
    """A drain on a ground of its own."""

    def run() -> Drained:
        with ground(*redis_options) as here:
            return drain(subject, here, work)

    return run


def drains(runs: Mapping[str, Callable[[], Drained]], rounds: int) -> dict[str, DrainFigures]:
    """All runs once in each round."""
    return {
        name: DrainFigures(*(Figures(tuple(column)) for column in zip(*found, strict=True)))
        for name, found in in_turns(runs, rounds).items()
    }


def pickups(subjects: Sequence[Subject], orders: int, rounds: int) -> dict[str, PickupFigures]:
    """Some side by side, then the next ones, in each round."""
    found = [
        side_by_side(subjects[first : first + _TOGETHER], orders)
        for _ in range(rounds)
        for first in range(0, len(subjects), _TOGETHER)
    ]
    return {
        each.name: _pickup_figures([one[each.name] for one in found if each.name in one])
        for each in subjects
    }


def _pickup_figures(found: Sequence[PickedUp]) -> PickupFigures:
    return PickupFigures(
        waits=list(chain(*(each.waits for each in found))),
        idle=Figures(tuple(each.idle for each in found)),
    )


def drain_table(what: str, figures: Mapping[str, DrainFigures], base: str = "") -> str:
    """base: the row that the ratios are to; without one, there are none."""
    ratio = [f"x {base}"] if base in figures else []
    return table(
        [what, "orders/s", *ratio, "worker CPU µs", "Redis CPU µs", "worker MiB"],
        [
            [
                name,
                each.rate.shown(),
                *[f"{each.rate.median / figures[base].rate.median:.2f}" for _ in ratio],
                each.worker_cpu.shown(1),
                each.redis_cpu.shown(1),
                each.memory.shown(),
            ]
            for name, each in figures.items()
        ],
    )


def pickup_table(figures: Mapping[str, PickupFigures]) -> str:
    """Milliseconds."""
    return table(
        ["pick-up by an idle worker", "orders", "p50 ms", "p99 ms", "most ms", "idle MiB"],
        [
            [
                name,
                str(len(each.waits)),
                *[f"{quantile(each.waits, share) * 1000:.2f}" for share in (0.5, 0.99, 1.0)],
                each.idle.shown(),
            ]
            for name, each in figures.items()
        ],
    )


def as_json(figures: Mapping[str, DrainFigures | PickupFigures]) -> dict[str, Any]:
    """All values of all rounds."""
    return {
        name: {
            column: found.values if isinstance(found, Figures) else found
            for column, found in each._asdict().items()
        }
        for name, each in figures.items()
    }


def arguments(name: str, given: Sequence[str] | None, **defaults: int | str) -> argparse.Namespace:
    """What a benchmark was told on its command line: a flag for each default."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    for flag, default in defaults.items():
        parser.add_argument(f"--{flag.replace('_', '-')}", type=type(default), default=default)
    return parser.parse_args(given)
