"""What happens to a worker's wall clock; nothing of it may be noticed."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from tests.chaos.ground import Ground, Injected

_HOUR = 3600


@dataclass(frozen=True)
class Step:
    """The clock of one worker is wrong by so much for a while, and then right again."""

    name: str
    seconds: int

    def __call__(self, ground: Ground, rng: random.Random) -> Injected:
        slot = rng.choice(list(ground.fleet.clocks))
        fault = Injected(f"time: {self.name}", time.monotonic(), slots={slot})
        clock = ground.fleet.clocks[slot]
        clock.step(self.seconds)
        try:
            ground.wait(lambda: self._is_seen(ground, slot, fault.began), fault.kind)
            ground.hold(rng.uniform(0.5, 1.5))
        finally:
            clock.step(0)
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


an_hour_ahead = Step("an hour ahead, and back", _HOUR)
an_hour_behind = Step("an hour behind, and back", -_HOUR)
