"""How far a run is."""

from __future__ import annotations

import time
from typing import NamedTuple

from benchmarks.kit.ground import Ground


class Progress(NamedTuple):
    """done: orders by the time `at` (monotonic seconds)."""

    done: int
    at: float


def marked(ground: Ground) -> Progress:
    """As the handlers say: how many were started."""
    lines = marks(ground)
    return lines[-1] if lines else Progress(0, time.monotonic())


def marks(ground: Ground) -> list[Progress]:
    """All that the handlers said so far, in its order."""
    try:
        whole = ground.marks.read_bytes().rpartition(b"\n")[0]
    except FileNotFoundError:
        return []
    pairs = (line.split() for line in whole.splitlines())
    return [Progress(int(number), int(at) / 1e9) for number, at in pairs]


def booked(ground: Ground) -> Progress:
    """As this project's books say: how many were acknowledged."""
    done = int(ground.client.hget("{orders}:books", "fulfilled") or 0)
    return Progress(done, time.monotonic())
