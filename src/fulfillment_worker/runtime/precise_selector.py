"""Waiting to the microsecond, on Linux."""

from __future__ import annotations

import select
import selectors

_MOST_OF_SELECT = 1024
"""The first number of a file that select(2) can't wait for."""


class PreciseSelector(selectors.EpollSelector):
    """Waits to the microsecond.

    Epoll rounds each wait up to whole milliseconds, so that a handler which waits for 10 ms would
    take 10.5 on average.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See selectors.BaseSelector."""
        if timeout is not None and timeout > 0 and self.fileno() < _MOST_OF_SELECT:
            # An epoll can be waited for as any file can.
            select.select([self], [], [], timeout)
            timeout = 0
        return super().select(timeout)
