"""Figures for the demo's view."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from math import ceil

_WINDOW = 5.0


class Pace:
    """How fast a count grows, over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now: float, count: int) -> None:
        """The count at `now` (monotonic seconds, never less than before)."""
        self._seen.append((now, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _WINDOW:
            self._seen.popleft()

    @property
    def per_second(self) -> float:
        """0 until two counts were noted."""
        if len(self._seen) < 2:
            return 0.0
        (since, before), (now, count) = self._seen[0], self._seen[-1]
        return (count - before) / (now - since) if now > since else 0.0


def percentile(values: Collection[float], share: float) -> float | None:
    """The nearest-rank percentile; None of nothing. share: above 0, up to 1."""
    if not values:
        return None
    return sorted(values)[ceil(share * len(values)) - 1]
