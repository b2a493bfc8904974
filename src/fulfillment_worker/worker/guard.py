"""Watches over the handler's dependency: lowers the room for orders while it seems to be down."""

from __future__ import annotations

import time

from fulfillment_worker.core.breaker import Breaker, BreakerState
from fulfillment_worker.core.events import BreakerChanged
from fulfillment_worker.core.outcome import Result
from fulfillment_worker.core.slots import Slots
from fulfillment_worker.worker.ledger import Tell


class Guard:
    """Keeps the breaker's say over the slots up to date, and tells when its state changes."""

    def __init__(self, breaker: Breaker, slots: Slots, tell: Tell) -> None:
        self._breaker = breaker
        self._slots = slots
        self._tell = tell
        self._told = BreakerState.CLOSED

    @property
    def is_open(self) -> bool:
        """Whether claiming is stopped or down to probes."""
        return self._told is not BreakerState.CLOSED

    def attempt_ended(self, result: Result) -> None:
        """Take an attempt's result into account."""
        self._breaker.record(result, time.monotonic())
        if self._breaker.state is not self._told:
            self.look()

    def look(self) -> None:
        """Let what the breaker allows by now take effect."""
        self._slots.limit = self._breaker.room(time.monotonic())
        if self._breaker.state is not self._told:
            self._told = self._breaker.state
            self._tell(BreakerChanged(self._told, self._breaker.cause))
