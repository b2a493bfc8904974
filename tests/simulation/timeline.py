"""Virtual time: what happens in the world, in its order."""

from __future__ import annotations

import heapq
from collections.abc import Callable

EPOCH = 4_102_444_800.0
"""What the world's clocks show at its beginning: 2100-01-01. In Redis's own future, so that a time
can be kept as the moment at which a key expires."""


class Timeline:
    """now: seconds since the world began."""

    def __init__(self) -> None:
        self.now = 0.0
        self._deeds: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def at(self, when: float, deed: Callable[[], None]) -> None:
        """Do it then, after what was to be done at that time already."""
        self._number += 1
        heapq.heappush(self._deeds, (max(when, self.now), self._number, deed))

    def after(self, seconds: float, deed: Callable[[], None]) -> None:
        """Do it so many seconds from now."""
        self.at(self.now + seconds, deed)

    @property
    def next_at(self) -> float:
        """When something is to be done next; infinity for never."""
        return self._deeds[0][0] if self._deeds else float("inf")

    def go_on(self) -> None:
        """Do what is next, at its time."""
        when, _, deed = heapq.heappop(self._deeds)
        self.now = when
        deed()
