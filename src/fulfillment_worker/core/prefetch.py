"""How many orders of a queue to hold ready, beside those that run.

From the end of one order to the start of the next in its slot, two exchanges go by: one that
claims, and one that begins, each after what is left of the exchange before. Where handlers take
seconds, that is nothing. Where a hundred of them take 10 ms, a quarter of their time would be lost.
So as many orders are held ready as will end in that time; where handlers are slow, that is none.
"""

from __future__ import annotations

_EXCHANGES = 6
"""Three go by at most from an end to the next start: the one under way, to claim, to begin. Twice
as many, since orders don't end evenly."""
_MOST_SECONDS = 0.05
"""Seconds of work held ready at most, should exchanges be slow: what is ready is to start well
before the worker loses patience and gives it back."""
_SPAN = 0.5
"""Seconds over which the pace is taken, so that a burst of slow orders that end together does not
look like a stream of quick ones."""
_WEIGHT = 0.1
"""Of the newest exchange, in the time that exchanges take."""


class Prefetch:
    """Follows the pace of one queue. most: orders held ready at most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._per_second = 0.0
        self._usual = 0.0

    @property
    def orders(self) -> int:
        """How many to hold ready."""
        return min(self._most, int(min(_EXCHANGES * self._usual, _MOST_SECONDS) * self._per_second))

    def note(self, ended: int, seconds: float, took: float) -> None:
        """So many orders ended in the `seconds` since the last one, which `took` so many."""
        self._per_second = (_SPAN * self._per_second + ended) / (_SPAN + seconds)
        self._usual += _WEIGHT * (took - self._usual)

    def stop(self) -> None:
        """Orders that were held ready found no room: hold none until the pace is known anew."""
        self._per_second = 0.0
