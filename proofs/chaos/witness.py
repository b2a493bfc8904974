"""The second witness: what the stream of events said, kept before it is trimmed."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from typing import Any, NamedTuple

import redis

from proofs.chaos.load import open_client
from proofs.chaos.sites import Site

_EVENTS = "{orders}:events"
_EVERY = 0.05
_SLACK = 0.05
_RECENT = 3000
"""Entries that another server may not have, which has just become the primary."""


class Told(NamedTuple):
    """at: monotonic seconds by the clock of Redis. missed: a later server had no such entry.

    That was lost with a primary, unless it was flushed, or was on its way to another node.
    """

    status: str
    at: float
    attempt: int
    missed: bool = False


class Witness:
    """Follows the stream from a thread of its own.

    told: for each order what was told of it, in that order; under "" of what is no order.
    """

    def __init__(self, site: Site) -> None:
        self.told: dict[str, list[Told]] = defaultdict(list)
        self._recent: deque[tuple[str, str, int]] = deque(maxlen=_RECENT)
        self._site = site
        self._client: Any = None
        self._last = "-"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Read the rest, and end. Idempotent."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(20)
        self._hang_up()

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY):
            self._follow()
        self._follow()

    def _follow(self) -> None:
        try:
            while self._read():
                pass
        except redis.RedisError:
            self._hang_up()  # It is away, or refuses; the next time tells what was missed.

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _at(self, told: str, seen: float) -> float:
        return self._site.clock.at(int(told) / 1000, seen, _SLACK)

    def _read(self) -> bool:
        if self._client is None:
            self._client = open_client(self._site, decode_responses=True)
            self._look_back()
        entries = self._client.xrange(_EVENTS, min=self._last, count=2000)
        seen = time.monotonic()
        for entry_id, fields in entries:
            order_id, at = fields["order_id"], self._at(fields["at"], seen)
            self._recent.append((entry_id, order_id, len(self.told[order_id])))
            self.told[order_id].append(Told(fields["status"], at, int(float(fields["attempt"]))))
            self._last = f"({entry_id}"
        if not entries and self._last != "-" and self._began_anew():
            self._last = "-"
            return True
        return bool(entries)

    def _look_back(self) -> None:
        """Which of the last entries this server doesn't have."""
        if not self._recent:
            return
        there = {entry_id for entry_id, _ in self._client.xrange(_EVENTS, min=self._recent[0][0])}
        for entry_id, order_id, index in self._recent:
            if entry_id not in there:
                self.told[order_id][index] = self.told[order_id][index]._replace(missed=True)

    def _began_anew(self) -> bool:
        """Whether a FLUSHALL came after Redis's clock was ahead: all new ids are smaller then."""
        newest = self._client.xrevrange(_EVENTS, count=1)
        return bool(newest) and _parts(newest[0][0]) < _parts(self._last[1:])


def _parts(entry_id: str) -> tuple[int, ...]:
    """What ids of entries are compared by."""
    return tuple(int(part) for part in entry_id.split("-"))
