"""An attempt as the worker makes it, for handlers that a test calls by itself."""

from __future__ import annotations

from fulfillment_worker.core.order import Order
from fulfillment_worker.core.outcome import Result


class OneAttempt:
    """Remembers what it is told.

    cut_short: as what the attempt ends; a test sets it. handed_on: the order that the handler was
    given in place of its own. errors: what the handler raised.
    """

    def __init__(self) -> None:
        self.cut_short: Result | None = None
        self.handed_on: Order | None = None
        self.errors: list[BaseException] = []

    def hand_on(self, order: Order) -> None:
        """See Attempt."""
        self.handed_on = order

    def raised(self, error: BaseException) -> None:
        """See Attempt."""
        self.errors.append(error)
