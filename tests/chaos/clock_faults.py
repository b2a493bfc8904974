"""What happens to a worker's wall clock; nothing of it may be noticed."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos.clock import Clock
from tests.chaos.ground import Ground, Injected
from tests.chaos.handler_faults import await_no_poison

_HOUR = 3600


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
        slot = rng.choice(list(ground.fleet))
        with TemporaryDirectory(prefix="clock-") as folder:
            clock = Clock(Path(folder) / "clock")
            _succeed(ground, slot, clock)
            fault = Injected(f"time: {self.name}", time.monotonic(), slots={slot})
            clock.step(self.seconds)
            ground.wait(lambda: self._is_seen(ground, slot, fault.began), fault.kind)
            ground.hold(rng.uniform(0.5, 1.5))
            clock.step(0)
            ground.hold(rng.uniform(0.0, 0.5))
            _succeed(ground, slot, None)
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


def _succeed(ground: Ground, slot: int, clock: Clock | None) -> None:
    """Another worker takes the place of the one in the slot, which drains."""
    old = ground.fleet[slot]
    ground.fleet.replace_ready(slot, clock)
    ground.fleet.retire(old)


an_hour_ahead = Step("an hour ahead, and back", _HOUR)
an_hour_behind = Step("an hour behind, and back", -_HOUR)
