"""How many entries to read with one command, where Redis doesn't tell their sizes."""

from __future__ import annotations

from collections.abc import Sized
from typing import TypeVar

from fulfillment_worker.core.exchange import MOST_BYTES

E = TypeVar("E", bound=Sized)

_FIRST, _MOST = 4, 500
_FASTER = 4


class Stride:
    """Grows while entries are small, and is short where they are large."""

    def __init__(self) -> None:
        self.many = _FIRST

    def note(self, entries: list[E]) -> list[E]:
        """These were read; they are returned as they are."""
        if entries:
            average = max(1, sum(map(len, entries)) // len(entries))
            self.many = max(1, min(_MOST, self.many * _FASTER, MOST_BYTES // average))
        return entries
