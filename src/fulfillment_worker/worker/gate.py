"""Lowers the room for orders: the handler's dependency is down, or the worker itself is short."""

from __future__ import annotations

import time

from fulfillment_worker.core.breaker import Breaker, BreakerState
from fulfillment_worker.core.capacity import Capacity
from fulfillment_worker.core.events import BreakerChanged, ShortageChanged
from fulfillment_worker.core.outcome import Result, Unattempted
from fulfillment_worker.core.shortage import ShortageLimit
from fulfillment_worker.worker.ledger import Emit


class Gate:
    """Sets the limit of the capacity to what breaker and shortage allow, and tells of changes."""

    def __init__(self, breaker: Breaker, capacity: Capacity, emit: Emit) -> None:
        self._breaker = breaker
        self._shortage = ShortageLimit(capacity.slots)
        self._capacity = capacity
        self._emit = emit
        self._told = BreakerState.CLOSED
        self._told_shortage: ShortageChanged | None = None

    @property
    def is_open(self) -> bool:
        """Whether claiming is stopped or down to probes."""
        return self._told is not BreakerState.CLOSED

    def attempt_ended(self, result: Result) -> None:
        """Take an attempt's result into account."""
        if type(result) is Unattempted:
            self._shortage.short(self._capacity.running, time.monotonic())
            self._emit_shortage(result.why)
            self.look()
            return
        if self._told_shortage is not None:
            self._emit_shortage(self._told_shortage.why, attempted=True)
        self._breaker.record(result, time.monotonic())
        if self._breaker.state is not self._told:
            self.look()

    def look(self) -> None:
        """Let what the breaker allows by now take effect."""
        now = time.monotonic()
        self._capacity.limit = self._breaker.room(now)
        if self._told_shortage is not None:
            self._heed_shortage(now)
        if self._breaker.state is not self._told:
            self._told = self._breaker.state
            self._emit(BreakerChanged(self._told, self._breaker.cause))

    def _heed_shortage(self, now: float) -> None:
        assert self._told_shortage is not None
        room = self._shortage.room(now)
        if room is not None:
            limit = self._capacity.limit
            self._capacity.limit = room if limit is None else min(room, limit)
        self._emit_shortage(self._told_shortage.why)

    def _emit_shortage(self, why: str, *, attempted: bool = False) -> None:
        """Tell of its begin and end, and whether any order can be attempted.

        That one may be is not enough: the attempt must have been made.
        """
        room, told = self._shortage.limit, self._told_shortage
        changes = told is None or room is None or (attempted if told.room == 0 else room == 0)
        if changes:
            changed = ShortageChanged(why, room, told is None)
            self._told_shortage = None if room is None else changed
            self._emit(changed)
