"""Which children have been silent for so long that nothing but their end helps.

A child's loop that doesn't turn any more takes no orders, records none and hears no command, be it
blocked or the whole interpreter held by one regular expression. Its lease runs out meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

C = TypeVar("C")

LOOK = 0.5
"""Seconds between two looks."""
_LONGEST_STEP = 2 * LOOK
_LEAST = 5.0
"""Seconds at least, however short the lease is: children report once a second."""
_SLACK = 1.0


class Silences(Generic[C]):
    """For how long each child has been silent while the supervisor itself ran.

    A supervisor that was stopped, as with its virtual machine, has heard nobody meanwhile: of the
    time since the last look no more counts than such a look takes. Nor does that in which a child
    is stopped on purpose count: it goes on where it was, and others have its orders by then.

    lease: seconds. is_stopped: tells whether a child is stopped; asked of silent ones.
    """

    def __init__(
        self,
        lease: float,
        is_stopped: Callable[[C], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_stopped = is_stopped
        self.limit = max(_LEAST, lease + _SLACK)
        self._clock = clock
        self._looked = clock()
        self._silent: dict[C, tuple[float, float]] = {}

    def look(self, turns: Mapping[C, float]) -> list[C]:
        """Those that have been silent for longer than the limit, once each time.

        turns: when the loop of each child last turned, as it reported. Call it every LOOK seconds.
        """
        now = self._clock()
        step, self._looked = min(now - self._looked, _LONGEST_STEP), now
        self._silent = {child: self._after(child, at, step) for child, at in turns.items()}
        over = [child for child, (_, silent) in self._silent.items() if silent > self.limit]
        for child in over:
            del self._silent[child]
        return over

    def _after(self, child: C, turned: float, step: float) -> tuple[float, float]:
        before, silent = self._silent.get(child, (turned, 0.0))
        is_silent = turned == before and not self._is_stopped(child)
        return (turned, silent + step) if is_silent else (turned, 0.0)


def stopped(pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether somebody has stopped the process on purpose, by SIGSTOP or with a debugger."""
    try:
        state = (proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):  # it has ended, or there is no /proc
        return False
    return state in (b"T", b"t")
