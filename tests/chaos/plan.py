"""Which faults, in which order and when: all of it follows from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from tests.chaos import clock_faults, handler_faults, network_faults, redis_faults, worker_faults
from tests.chaos.ground import Ground, Injected

Fault = Callable[[Ground, random.Random], Injected]

FAULTS: tuple[Fault, ...] = (
    worker_faults.killed,
    worker_faults.stopped_past_its_lease,
    worker_faults.told_to_stop_in_a_burst,
    worker_faults.killed_while_draining,
    worker_faults.out_of_memory,
    worker_faults.deployed,
    clock_faults.an_hour_ahead,
    clock_faults.an_hour_behind,
    handler_faults.raises,
    handler_faults.hangs,
    handler_faults.blocks,
    handler_faults.calls_exit,
    handler_faults.leaks,
    handler_faults.exits,
    handler_faults.crashes,
    handler_faults.dies_decoding,
    handler_faults.returns_rubbish,
    redis_faults.killed,
    redis_faults.shut_down,
    redis_faults.connections_killed,
    redis_faults.paused,
    redis_faults.scripts_flushed,
    redis_faults.full,
    redis_faults.disk_full,
    redis_faults.read_only,
    redis_faults.forgets_all,
    redis_faults.password_rotated,
    redis_faults.slow_neighbour,
    redis_faults.slow_script,
    network_faults.cut_in_a_request,
    network_faults.cut_in_a_reply,
    network_faults.black_hole,
    network_faults.latency,
    network_faults.byte_by_byte,
)
_LONGEST_PAUSE = 0.5
_IN_A_ROUND = 100


class Step(NamedTuple):
    """One fault. pause: seconds before it. seed: for the chances that it takes."""

    fault: Fault
    pause: float
    seed: int


class Round(NamedTuple):
    """Steps on one Redis of this version, and the seed of the load."""

    version: str
    steps: list[Step]
    seed: int


def make_plan(faults: int, seed: int) -> list[Round]:
    """Every kind comes once before any comes again. A round ends with an audit."""
    rng = random.Random(seed)
    deck: list[Fault] = []
    steps = []
    for _ in range(faults):
        deck = deck or rng.sample(FAULTS, len(FAULTS))
        steps.append(Step(deck.pop(), rng.uniform(0.02, _LONGEST_PAUSE), rng.getrandbits(32)))
    return [
        Round(_version(number), steps[first : first + _IN_A_ROUND], rng.getrandbits(32))
        for number, first in enumerate(range(0, faults, _IN_A_ROUND))
    ]


def _version(number: int) -> str:
    return "redis-6.2" if number % 2 else "redis-7"
