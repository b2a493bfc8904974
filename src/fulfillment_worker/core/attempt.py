"""An attempt, as a handler and what wraps a handler see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from fulfillment_worker.core.order import Order
from fulfillment_worker.core.outcome import Result


class Attempt(Protocol):
    """One run of a handler on an order."""

    @property
    def cut_short(self) -> Result | None:
        """How the attempt ends unless it still succeeds; None while nobody has told it to stop."""
        ...

    def hand_on(self, order: Order) -> None:
        """The handler gets this order, which has a trace context of its own."""
        ...

    def raised(self, error: BaseException) -> None:
        """The handler raised this. For tracing; the result says what it means. Never raises."""
        ...


Handle = Callable[[Order, Attempt], Awaitable[Result]]
"""Runs a handler on an order. Never raises, whatever the shop's code does."""
