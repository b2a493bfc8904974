"""The history of a world: one JSON object a line. What the lines mean: docs/reliability.md."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec

from tests.simulation.timeline import Timeline

Heard = Callable[[dict[str, Any]], None]


class History:
    """Writes lines, in the order of their time, and knows the hash of all that it wrote.

    heard: called with each event, as a checker wants it. lines: kept if `keep`.
    """

    def __init__(self, timeline: Timeline, heard: Heard, *, keep: bool) -> None:
        self._timeline = timeline
        self._heard = heard
        self._keep = keep
        self._hash = sha256()
        self.lines: list[str] = []

    @property
    def hash(self) -> str:
        """SHA-256 of all lines, in hexadecimal."""
        return self._hash.hexdigest()

    def add(self, event: str, **fields: Any) -> None:
        """Write what happens now."""
        said = {"t": round(self._timeline.now, 6), "event": event, **fields}
        line = msgspec.json.encode(said)
        self._hash.update(line + b"\n")
        if self._keep:
            self.lines.append(line.decode())
        self._heard(said)
