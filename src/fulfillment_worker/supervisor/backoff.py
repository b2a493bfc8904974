"""How long to wait before a process that has ended by itself is replaced."""

from __future__ import annotations

LONG_LIFE = 30.0
"""Seconds after which an end counts as the first of its kind again."""
LOOPING = 3
"""Ends in quick succession from which on it is called a loop."""
_FIRST, _LONGEST = 0.5, 30.0


class Backoff:
    """The ends of the processes of one seat."""

    def __init__(self) -> None:
        self.ends = 0

    def ended(self, lived: float) -> float:
        """A process ended after `lived` seconds; returns for how many seconds to wait.

        The first is replaced at once, since its orders wait. Those that follow soon after wait for
        twice as long each time, since whatever kills them is still there.
        """
        self.ends = 1 if lived >= LONG_LIFE else self.ends + 1
        if self.ends == 1:
            return 0.0
        # The exponent is bounded too: nobody knows how long this goes on.
        return min(_LONGEST, _FIRST * 2.0 ** min(self.ends - 2, 10))

    @property
    def looping(self) -> bool:
        """Whether it is time to call somebody."""
        return self.ends >= LOOPING
