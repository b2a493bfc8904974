"""Chance: every decision of the world follows from its seed and from what it decides about.

A decision is made by the name of what it is about, and not by the one before. So a fault that is
taken away leaves the others as they were, and a failing seed can be shrunk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Rolls that are the same for the same seed and name, in any process and any Python."""

    def __init__(self, seed: int) -> None:
        self._key = str(seed).encode()

    def roll(self, name: str) -> float:
        """A number from 0 up to 1."""
        digest = blake2b(name.encode(), digest_size=7, key=self._key).digest()
        return int.from_bytes(digest) / 256**7

    def between(self, low: float, high: float, name: str) -> float:
        """A number from `low` up to `high`."""
        return low + (high - low) * self.roll(name)

    def whole(self, low: int, high: int, name: str) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int((high - low + 1) * self.roll(name))

    def skewed(self, low: float, high: float, name: str) -> float:
        """As `between`, but each power of ten is as likely as the next. low: above 0."""
        return math.exp(self.between(math.log(low), math.log(high), name))

    def pick(self, choices: Sequence[T], name: str) -> T:
        """One of `choices`."""
        return choices[int(len(choices) * self.roll(name))]


class Faults:
    """Which faults happen: by chance, while a storm lasts.

    only: ids of the faults that may happen; None for all. happened: ids, in order.
    """

    def __init__(self, dice: Dice, only: frozenset[str] | None) -> None:
        self._dice = dice
        self._only = only
        self.storm = False
        self.happened: list[str] = []

    def happens(self, fault: str, chance: float) -> bool:
        """Whether the fault with this id happens now, which it does with this chance."""
        if not self.storm or self._dice.roll(fault) >= chance:
            return False
        return self.planned(fault)

    def planned(self, fault: str) -> bool:
        """Whether a fault that was drawn before may happen; it counts as happened then."""
        if self._only is not None and fault not in self._only:
            return False
        self.happened.append(fault)
        return True
