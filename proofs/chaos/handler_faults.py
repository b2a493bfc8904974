"""What handlers do to their worker: some orders that make them do it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from proofs.chaos.ground import Ground, Injected
from proofs.chaos.record import Call
from tests.support.eventually import PATIENCE
from tests.support.orders import dead_letters

POISONS = {
    "os_exit": "handler: os._exit",
    "segfault": "handler: segfault",
    "decode": "worker: dies decoding",
    "regex": "handler: holds the interpreter for ever",
    "busy": "handler: turns in the loop for ever",
}
"""The kinds of fault by what an order does."""


@dataclass(frozen=True)
class Misbehaviour:
    """Places `many` orders whose `do` is this, and waits until each has done it."""

    name: str
    do: str
    many: int

    def __call__(self, ground: Ground, rng: random.Random) -> Injected:
        fault = Injected(f"handler: {self.name}", time.monotonic())
        fault.ids = ground.producer.place(self.do, self.many)
        ground.wait(lambda: all(_did(ground, fault.ids)), f"{self.do} in the handler")
        did = [call for call in _did(ground, fault.ids) if call]
        fault.ended = max(call.end or 0.0 for call in did)
        fault.slots = {call.slot for call in did}
        return fault


def _did(ground: Ground, ids: list[str]) -> list[Call | None]:
    """The first call of each order that came to an end: a process may die in the middle of one."""
    calls = ground.record.by_order
    return [next((call for call in calls[each] if call.end), None) for each in ids]


def exits(ground: Ground, rng: random.Random) -> Injected:
    """A poison order: it ends each process that handles it, until it is a dead letter."""
    return _poison(ground, "os_exit")


def crashes(ground: Ground, rng: random.Random) -> Injected:
    """A poison order that crashes the interpreter."""
    return _poison(ground, "segfault")


def dies_decoding(ground: Ground, rng: random.Random) -> Injected:
    """A poison order that ends each process that only looks at its bytes."""
    return _poison(ground, "decode")


def _poison(ground: Ground, do: str) -> Injected:
    await_no_poison(ground)
    fault = Injected(POISONS[do], time.monotonic())
    [poison] = ground.producer.place(do)

    def death() -> tuple[int, float] | None:
        if do == "decode":
            return next(((p, at) for p, at in ground.record.died.items() if at > fault.began), None)
        calls = ground.record.by_order[poison]
        return next(((call.pid, call.end) for call in calls if call.end), None)

    ground.wait(lambda: death() is not None, "the poison works")
    found = death()
    assert found is not None
    pid, fault.ended = found
    fault.slots = {ground.record.slot_of[pid]}
    fault.cut = ground.record.running(pid)
    return fault


def await_no_poison(ground: Ground, deadline: float = PATIENCE) -> None:
    """Wait until none goes round that would kill a worker which has another part to play.

    Two at a time would make each other's bystanders suspects, too.
    """
    ground.wait(lambda: _is_clean(ground), "the poisons before are dead letters", deadline)


def _is_clean(ground: Ground) -> bool:
    dead = {letter.raw for letter in dead_letters(ground.site)}
    placed = list(ground.producer.placed.values())  # At once: others are placed meanwhile.
    return all(each.raw in dead for each in placed if each.do in POISONS)


raises = Misbehaviour("raises", "raise", 5)
hangs = Misbehaviour("hangs", "hang", 2)
blocks = Misbehaviour("blocks the loop for 0.3 s", "block", 2)
calls_exit = Misbehaviour("sys.exit", "sys_exit", 3)
leaks = Misbehaviour("leaks memory, files, tasks, threads", "leak", 5)
returns_rubbish = Misbehaviour("returns rubbish", "rubbish", 3)
