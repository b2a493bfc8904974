"""How many bytes of orders one exchange asks for.

Less after a lost reply, which may have been too much for the line, and more again once replies come
quickly. What could not be fetched is given back, and its next claim is put off longer each time.
"""

from __future__ import annotations

from fulfillment_worker.core.exchange import LARGE, MOST_BYTES

_ONE_ORDER = 1
_QUICK, _SLOW = 0.5, 1.0
"""Seconds of an exchange below which more is asked for, and above which less is."""
_FIRST_DELAY_MS = 500


class FetchSize:
    """Of one worker for one queue."""

    def __init__(self) -> None:
        self.most_bytes = MOST_BYTES
        self._losses = 0

    def lost(self) -> None:
        """A reply was lost, or came too late."""
        self._losses += 1
        self.most_bytes = _ONE_ORDER

    def arrived(self, seconds: float) -> None:
        """An exchange that claimed orders took so long."""
        self._losses = 0
        if seconds < _QUICK:
            self.most_bytes = min(MOST_BYTES, max(LARGE, 2 * self.most_bytes))
        elif seconds > _SLOW:
            self.most_bytes = min(self.most_bytes, max(LARGE, self.most_bytes // 2))

    def delay_ms(self, longest: int) -> int:
        """Until what was lost may be claimed again; 0 keeps its place.

        The first loss may have any cause. After that it may be the order, so others go first, and
        another worker may have a better line.
        """
        if self._losses < 2:
            return 0
        return int(min(longest, _FIRST_DELAY_MS * 2 ** min(self._losses - 2, 20)))
