"""What happens to workers: each function does it once, and says what it touched."""

from __future__ import annotations

import random
import resource
import signal
import time
from contextlib import suppress

import psutil

from proofs.chaos.fleet import LEASE
from proofs.chaos.ground import Ground, Injected

_LEFT = 4 << 20
"""Bytes of memory that a worker may still take."""


def killed(ground: Ground, rng: random.Random) -> Injected:
    """SIGKILL."""
    slot = rng.choice(ground.fleet.singles)
    fault = Injected("worker: SIGKILL", time.monotonic(), slots={slot})
    return _kill(ground, fault, slot)


def stopped_past_its_lease(ground: Ground, rng: random.Random) -> Injected:
    """SIGSTOP for longer than the lease: a zombie comes back."""
    slot = rng.choice(ground.fleet.singles)
    fault = Injected("worker: SIGSTOP past the lease", time.monotonic(), slots={slot}, mute={slot})
    stop_past_the_lease(ground, rng, ground.fleet[slot].pid)
    fault.ended = time.monotonic()
    return fault


def stop_past_the_lease(ground: Ground, rng: random.Random, pid: int) -> None:
    """SIGSTOP, and SIGCONT when a lease is over for certain."""
    ground.fleet.send(pid, signal.SIGSTOP)
    try:
        ground.hold(LEASE * rng.uniform(1.2, 1.8))
    finally:
        ground.fleet.send(pid, signal.SIGCONT)


def told_to_stop_in_a_burst(ground: Ground, rng: random.Random) -> Injected:
    """SIGTERM while much waits; another takes its place."""
    slot = rng.choice(list(ground.fleet))
    fault = Injected("worker: SIGTERM in a burst", time.monotonic(), slots={slot})
    ground.producer.place(many=150)
    worker = ground.fleet[slot]
    ground.fleet.replace(slot, ground.fleet.make_in(slot))
    ground.fleet.retire(worker)
    fault.ended = time.monotonic()
    return fault


def killed_while_draining(ground: Ground, rng: random.Random) -> Injected:
    """SIGTERM, and SIGKILL before the drain is done."""
    slot = rng.choice(ground.fleet.singles)
    fault = Injected("worker: SIGTERM, then SIGKILL", time.monotonic(), slots={slot})
    ground.fleet.stop(ground.fleet[slot])
    soon = time.monotonic() + rng.uniform(0.0, 0.02)
    while time.monotonic() < soon:
        ground.record.refresh()
    return _kill(ground, fault, slot)


def out_of_memory(ground: Ground, rng: random.Random) -> Injected:
    """A limit of its memory (rlimit), and handlers that eat all that is left.

    It may fail at anything, and may end: as if it had been killed.
    """
    slot = rng.choice(ground.fleet.singles)
    fault = Injected("worker: out of memory", time.monotonic(), slots={slot}, mute={slot})
    pid = ground.fleet[slot].pid
    ground.fleet.frail.add(pid)
    _, most = resource.prlimit(pid, resource.RLIMIT_AS)
    limit = psutil.Process(pid).memory_info().vms + _LEFT
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, most))

    def is_short() -> bool:
        fault.ids += ground.producer.place("eat", 2)
        ground.hold(0.1)  # A slow machine is not to be buried in them.
        return pid in ground.record.short or pid in ground.fleet.deaths

    ground.wait(is_short, "no memory is left")
    fault.ids += ground.producer.place("eat", 10)
    ground.hold(rng.uniform(0.0, 0.5))
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
    fault.ended = time.monotonic()
    return fault


def deployed(ground: Ground, rng: random.Random) -> Injected:
    """A rolling restart: one after the other, the new one first."""
    fault = Injected("worker: rolling restart", time.monotonic(), slots=set(ground.fleet))
    for slot in rng.sample(list(ground.fleet), 4):
        old = ground.fleet[slot]
        ground.fleet.replace_ready(slot, ground.fleet.make_in(slot))
        ground.fleet.retire(old)
    fault.ended = time.monotonic()
    return fault


def _kill(ground: Ground, fault: Injected, slot: int) -> Injected:
    pid = ground.fleet[slot].pid
    ground.fleet.kill(slot)
    fault.ended = ground.fleet.deaths[pid]
    ground.record.refresh()
    fault.cut = ground.record.running(pid)
    return fault
