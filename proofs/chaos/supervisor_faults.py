"""What happens to a supervisor and its processes."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass, replace

from proofs.chaos.fleet import PROCESSES, SUPERVISED
from proofs.chaos.ground import Ground, Injected
from proofs.chaos.handler_faults import await_no_poison
from proofs.chaos.worker_faults import stop_past_the_lease
from tests.support.eventually import PATIENCE

PLACES = (0, 1)
"""Slots without a proxy."""
_SHARE = 60
"""Attempts after which a process is replaced."""


@dataclass(frozen=True)
class Killed:
    """SIGKILL of one of the processes, of their supervisor, or of all at once.

    Orders of a killed process run again: at once if its supervisor lives, else after the lease. The
    processes of a killed supervisor finish what they run, and end.
    """

    name: str
    supervisor: bool
    processes: int

    def __call__(self, ground: Ground, rng: random.Random) -> Injected:
        await_no_poison(ground)
        slot = ground.fleet.supervise(rng.choice(PLACES))
        worker = ground.fleet[slot]
        fault = Injected(f"supervisor: SIGKILL of {self.name}", time.monotonic(), slots={slot})
        children = ground.fleet.children(worker)
        victims = rng.sample(children, self.processes)
        if self.supervisor:
            for pid in children:
                ground.fleet.note("draining", pid)
            ground.fleet.send(worker.pid, signal.SIGKILL)
        for pid in victims:
            ground.fleet.send(pid, signal.SIGKILL)
        fault.ended = time.monotonic()
        if self.supervisor:
            ground.fleet.replace(slot, SUPERVISED)
            deaths = ground.fleet.deaths
            ground.wait(lambda: set(children) <= set(deaths), "its processes ended", PATIENCE)
        ground.record.refresh()
        fault.cut = [call for pid in victims for call in ground.record.running(pid)]
        return fault


def child_stopped(ground: Ground, rng: random.Random) -> Injected:
    """SIGSTOP of one of the processes past its lease: it is left alone, and comes back."""
    await_no_poison(ground)
    slot = ground.fleet.supervise(rng.choice(PLACES))
    kind = "supervisor: SIGSTOP of a process"
    fault = Injected(kind, time.monotonic(), slots={slot}, mute={slot})
    pid = rng.choice(ground.fleet.children(ground.fleet[slot]))
    stop_past_the_lease(ground, rng, pid)
    fault.ended = time.monotonic()
    ground.wait(lambda: _works(ground, pid, fault.ended), "it works again", PATIENCE)
    return fault


def supervisor_stopped(ground: Ground, rng: random.Random) -> Injected:
    """SIGSTOP of the supervisor: its processes go on, and are the same afterwards."""
    await_no_poison(ground)
    slot = ground.fleet.supervise(rng.choice(PLACES))
    fault = Injected("supervisor: SIGSTOP of itself", time.monotonic(), slots={slot})
    worker = ground.fleet[slot]
    before = set(ground.fleet.children(worker))
    stop_past_the_lease(ground, rng, worker.pid)
    fault.ended = time.monotonic()
    ground.hold(rng.uniform(0.0, 0.5))
    if gone := before - set(ground.fleet.children(worker)):
        ground.fleet.complaints.append(f"{gone} ended while their supervisor was stopped")
    return fault


def children_replaced(ground: Ground, rng: random.Random) -> Injected:
    """Each process drains after its share of attempts, and another has taken its place by then."""
    await_no_poison(ground)
    share = ("--max-orders-per-process", str(_SHARE))
    slot = ground.fleet.supervise(rng.choice(PLACES))
    fault = Injected("supervisor: processes replaced", time.monotonic(), slots={slot})
    wearing = replace(SUPERVISED, options=(*SUPERVISED.options, *share))
    first = set(ground.fleet.children(ground.fleet.succeed(slot, wearing)))
    ground.wait(lambda: first <= set(ground.fleet.deaths), "its processes are replaced", PATIENCE)
    # It drains first: on a busy machine its processes would be replaced over and over meanwhile.
    ground.fleet.retire(ground.fleet[slot])
    ground.fleet.replace_ready(slot, SUPERVISED)
    fault.ended = time.monotonic()
    return fault


def _works(ground: Ground, pid: int, since: float) -> bool:
    """Whether this process has begun an order since then; or it is gone, by some poison."""
    starts = (call.start for call in reversed(ground.record.calls[-2000:]) if call.pid == pid)
    return any(start > since for start in starts) or pid in ground.fleet.deaths


child_killed = Killed("a process", supervisor=False, processes=1)
supervisor_killed = Killed("itself", supervisor=True, processes=0)
all_killed = Killed("itself and its processes", supervisor=True, processes=PROCESSES)
