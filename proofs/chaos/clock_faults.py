"""What happens to wall clocks, of a worker and of Redis; nothing of it may be noticed."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from proofs.chaos.fleet import Make
from proofs.chaos.ground import Ground, Injected
from proofs.chaos.handler_faults import await_no_poison
from tests.support.clock import Clock
from tests.support.eventually import PATIENCE

_HOUR = 3600
_SOON = 1.0
"""Seconds in which workers learn that their lease was lost."""
_ALL = 3
"""Workers that live when one of the fleet has just been killed."""


@dataclass(frozen=True)
class Step:
    """The clock of one worker is wrong by so much for a while, and then right again.

    The worker is a new one, whose clock can be set, and makes room for a common one afterwards:
    libfaketime slows its waits.
    """

    name: str
    seconds: int

    def __call__(self, ground: Ground, rng: random.Random) -> Injected:
        await_no_poison(ground)
        slot = rng.choice(ground.fleet.singles)
        with TemporaryDirectory(prefix="clock-") as folder:
            clock = Clock(Path(folder) / "clock")
            ground.fleet.succeed(slot, Make(env=clock.env))
            fault = Injected(f"time: {self.name}", time.monotonic(), slots={slot})
            clock.step(self.seconds)
            ground.wait(lambda: self._is_seen(ground, slot, fault.began), fault.kind)
            ground.hold(rng.uniform(0.5, 1.5))
            clock.step(0)
            ground.hold(rng.uniform(0.0, 0.5))
            ground.fleet.succeed(slot)
        fault.ended = time.monotonic()
        return fault

    def _is_seen(self, ground: Ground, slot: int, since: float) -> bool:
        """Whether a handler of this worker was shown the wrong time."""
        wrong = time.time() - time.monotonic() + self.seconds
        pid = ground.fleet[slot].pid
        return any(
            call.pid == pid and call.start > since and abs(call.wall - call.start - wrong) < 60
            for call in reversed(ground.record.calls[-500:])
        )


@dataclass(frozen=True)
class RedisStep:
    """Redis's clock is wrong by so much for a while, and then right again.

    A worker is killed and orders fail just before it is stepped, and others just after: what was
    held and what failed must run again as soon as ever. Those that live must keep their leases.
    """

    name: str
    seconds: int

    def __call__(self, ground: Ground, rng: random.Random) -> Injected:
        await_no_poison(ground)
        fault = Injected(f"Redis: clock {self.name}", time.monotonic(), slots=set(ground.fleet))
        first, second = rng.sample(ground.fleet.singles, 2)
        self._kill(ground, fault, first)
        stepped = time.monotonic()
        ground.step_clock(self.seconds)
        try:
            ground.hold(rng.uniform(_SOON, 2 * _SOON))
            self._complain(ground, stepped)
            self._kill(ground, fault, second)
            ground.wait(lambda: ground.has_recovered(fault), fault.kind, PATIENCE)
        finally:
            stepped = time.monotonic()
            ground.step_clock(0)
        ground.hold(_SOON)
        self._complain(ground, stepped)
        fault.ended = time.monotonic()
        return fault

    @staticmethod
    def _kill(ground: Ground, fault: Injected, slot: int) -> None:
        fault.ids += ground.producer.place("raise", 5)
        raised = ground.record.by_order
        ground.wait(lambda: all(raised[each] for each in fault.ids), "the orders began")
        dead = ground.fleet.kill(slot)
        ground.record.refresh()
        fault.cut += ground.record.running(dead.pid)

    def _complain(self, ground: Ground, since: float) -> None:
        """One lease may end of a busy machine; all of them do only if the step ends them."""
        lost = ground.fleet.leases_lost()
        losers = [pid for pid, times in lost.items() if any(at > since for at in times)]
        if len(losers) >= _ALL:
            text = f"{len(losers)} workers lost their leases when Redis's clock was {self.name}"
            ground.fleet.complaints.append(text)


redis_ahead = RedisStep("30 s ahead, and back", 30)
redis_behind = RedisStep("an hour behind, and back", -_HOUR)
redis_far_ahead = RedisStep("an hour ahead, and back", _HOUR)
an_hour_ahead = Step("an hour ahead, and back", _HOUR)
an_hour_behind = Step("an hour behind, and back", -_HOUR)
