"""Which faults, in which order and when: all of it follows from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import NamedTuple

from proofs.chaos import (
    clock_faults,
    handler_faults,
    network_faults,
    process_faults,
    redis_faults,
    supervisor_faults,
    topology_faults,
    worker_faults,
)
from proofs.chaos.ground import Ground, Injected

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
    redis_faults.functions_flushed,
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
    network_faults.slow_link,
    network_faults.far_link,
    process_faults.holds_the_interpreter,
    process_faults.blocks_the_loop,
    process_faults.forks,
    process_faults.finds_no_thread,
    supervisor_faults.child_killed,
    supervisor_faults.supervisor_stopped,
)
CLOCKED_FAULTS: tuple[Fault, ...] = (
    *FAULTS,
    clock_faults.redis_ahead,
    clock_faults.redis_behind,
    clock_faults.redis_far_ahead,
    supervisor_faults.supervisor_killed,
    supervisor_faults.all_killed,
    supervisor_faults.child_stopped,
    supervisor_faults.children_replaced,
)
"""Where Redis's clock can be set; and every kind of fault that needs no other topology."""
_BESIDES: tuple[Fault, ...] = (
    worker_faults.told_to_stop_in_a_burst,
    clock_faults.an_hour_ahead,
)
SENTINEL_FAULTS: tuple[Fault, ...] = (
    topology_faults.primary_killed,
    topology_faults.primary_killed_in_step,
    topology_faults.sentinels_told_to_fail_over,
    worker_faults.stopped_past_its_lease,
    supervisor_faults.supervisor_killed,
    supervisor_faults.all_killed,
    *_BESIDES,
)
CLUSTER_FAULTS: tuple[Fault, ...] = (
    topology_faults.owner_killed,
    topology_faults.owner_told_to_fail_over,
    topology_faults.slot_moved,
    worker_faults.killed,
    supervisor_faults.child_stopped,
    supervisor_faults.children_replaced,
    *_BESIDES,
)
DECKS = {
    "redis-7": FAULTS,
    "valkey-9": CLOCKED_FAULTS,
    "sentinel": SENTINEL_FAULTS,
    "cluster": CLUSTER_FAULTS,
}
_LONGEST_PAUSE = 0.5
_ROUNDS = (("redis-7", 52), ("sentinel", 8), ("valkey-9", 52), ("cluster", 8))
"""Where, one after the other, and how many faults each."""


class Step(NamedTuple):
    """One fault. pause: seconds before it. seed: for the chances that it takes."""

    fault: Fault
    pause: float
    seed: int


class Round(NamedTuple):
    """Steps on one site, and the seed of the load."""

    site: str
    steps: list[Step]
    seed: int


def make_plan(faults: int, seed: int) -> list[Round]:
    """Every kind comes once before any comes again. A round ends with an audit."""
    rng = random.Random(seed)
    decks: dict[tuple[Fault, ...], list[Fault]] = {}
    rounds = []
    for site, most in cycle(_ROUNDS):
        many = min(most, faults)
        deck = decks.setdefault(DECKS[site], [])
        rounds.append(Round(site, list(_draw(rng, deck, DECKS[site], many)), rng.getrandbits(32)))
        faults -= many
        if not faults:
            return rounds
    raise AssertionError


def make_round(site: str, faults: int, seed: int) -> Round:
    """So many faults on one site."""
    rng = random.Random(seed)
    return Round(site, list(_draw(rng, [], DECKS[site], faults)), rng.getrandbits(32))


def _draw(
    rng: random.Random, deck: list[Fault], whole: tuple[Fault, ...], many: int
) -> Iterator[Step]:
    """Take so many off the deck, which is filled again when it is empty."""
    for _ in range(many):
        if not deck:
            deck += rng.sample(whole, len(whole))
        yield Step(deck.pop(), rng.uniform(0.02, _LONGEST_PAUSE), rng.getrandbits(32))
