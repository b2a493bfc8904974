"""What handlers do to the processes of a worker: they hang them, fork them, or find no thread."""

from __future__ import annotations

import random
import socket
import time
from dataclasses import dataclass

from proofs.chaos.fleet import Make
from proofs.chaos.ground import Ground, Injected
from proofs.chaos.handler_faults import POISONS, await_no_poison
from proofs.chaos.supervisor_faults import PLACES
from proofs.chaos.threads import no_threads
from tests.support.eventually import PATIENCE
from tests.support.worker import RunningWorker

_PLAIN = Make(options=("--handler", "shop:fulfil_plainly", "--order-timeout", "60s"), plain=True)
_CHILDREN = ("program", "process", "daemon", "pool", "executor", "exit")


@dataclass(frozen=True)
class Hang:
    """A poison order: its handler hangs the interpreter or the loop, for ever.

    One worker is two processes under a supervisor, which must end and replace what hangs. The
    others have something outside that does (see shop.py), since nothing inside could. The order
    must become a dead letter.
    """

    do: str

    def __call__(self, ground: Ground, rng: random.Random) -> Injected:
        await_no_poison(ground)
        ground.fleet.supervise(rng.choice(PLACES))
        everyone = set(ground.fleet)
        fault = Injected(POISONS[self.do], time.monotonic(), slots=everyone, mute=everyone)
        [poison] = ground.producer.place(self.do)
        ground.wait(lambda: bool(ground.record.by_order[poison]), "the poison works", PATIENCE)
        await_no_poison(ground, PATIENCE)
        # The last to have it hangs for a while after its lease, and then it isn't there any more.
        ground.wait(lambda: self._all_ended(ground, poison), "what hung is gone", PATIENCE)
        fault.ended = time.monotonic()
        return fault

    @staticmethod
    def _all_ended(ground: Ground, poison: str) -> bool:
        return all(call.pid in ground.fleet.deaths for call in ground.record.by_order[poison])


def forks(ground: Ground, rng: random.Random) -> Injected:
    """Programs, processes, pools and bare forks; some stay when their worker ends or is killed."""
    await_no_poison(ground)
    slot = rng.choice(ground.fleet.singles)
    worker = ground.fleet.succeed(slot, _PLAIN)
    fault = Injected("handler: forks", time.monotonic(), slots={slot})

    def all_forked() -> bool:
        # The others take their share of the orders; this one must have had each kind, too.
        fault.ids += [
            order_id
            for child in _CHILDREN
            if not _did(ground, worker, f"fork_{child}")
            for order_id in ground.producer.place(f"fork_{child}")
        ]
        ground.hold(0.5)
        return all(_did(ground, worker, f"fork_{child}") for child in _CHILDREN)

    ground.wait(all_forked, "children of all kinds", PATIENCE)
    port = worker.metrics_port
    if rng.random() < 0.5:
        ground.fleet.succeed(slot)
    else:
        ground.fleet.kill(slot)
        ground.record.refresh()
        fault.cut = ground.record.running(worker.pid)
    fault.ended = time.monotonic()
    ground.wait(lambda: _is_free(port), "its metrics port is free, whatever it forked", PATIENCE)
    return fault


def _did(ground: Ground, worker: RunningWorker, do: str) -> bool:
    """Whether this worker has fulfilled such an order."""
    placed = ground.producer.placed
    return any(
        call.pid == worker.pid and call.how == "ok" and placed[call.order_id].do == do
        for call in reversed(ground.record.finished[-2000:])
        if call.order_id in placed
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def finds_no_thread(ground: Ground, rng: random.Random) -> Injected:
    """A limit of its threads: a shortage of the worker's own, which costs no order an attempt."""
    await_no_poison(ground)
    slot = rng.choice(ground.fleet.singles)
    worker = ground.fleet.succeed(slot, _PLAIN)
    fault = Injected("worker: no thread to be had", time.monotonic(), slots={slot})
    with no_threads(worker.pid):
        fault.ids = ground.producer.place(many=100)
        ground.hold(rng.uniform(1.0, 3.0))
    ground.fleet.succeed(slot)
    fault.ended = time.monotonic()
    return fault


holds_the_interpreter = Hang("regex")
blocks_the_loop = Hang("busy")
