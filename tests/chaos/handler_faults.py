"""What handlers do to their worker: some orders that make them do it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from tests.chaos.ground import Ground, Injected
from tests.chaos.record import Call


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
        fault.slots = {ground.fleet.slot_of[call.pid] for call in did}
        return fault


def _did(ground: Ground, ids: list[str]) -> list[Call | None]:
    """The first call of each order that came to an end: a process may die in the middle of one."""
    calls = ground.record.by_order
    return [next((call for call in calls[each] if call.end), None) for each in ids]


def exits(ground: Ground, rng: random.Random) -> Injected:
    """The poison order: it ends each process that handles it, until it is a dead letter."""
    fault = Injected("handler: os._exit", time.monotonic())
    [poison] = ground.producer.place("os_exit")
    calls = ground.record.by_order
    ground.wait(lambda: any(call.how == "died" for call in calls[poison]), "the poison works")
    call = next(call for call in calls[poison] if call.how == "died")
    assert call.end is not None
    fault.ended = call.end
    fault.slots = {ground.fleet.slot_of[call.pid]}
    fault.cut = ground.record.running(call.pid)
    return fault


raises = Misbehaviour("raises", "raise", 5)
hangs = Misbehaviour("hangs", "hang", 2)
blocks = Misbehaviour("blocks the loop for 0.3 s", "block", 2)
calls_exit = Misbehaviour("sys.exit", "sys_exit", 3)
returns_rubbish = Misbehaviour("returns rubbish", "rubbish", 3)
