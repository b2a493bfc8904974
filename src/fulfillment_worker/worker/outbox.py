"""Events on their way to the observers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fulfillment_worker.core.events import Event


class Outbox:
    """Emits events at once, or, after `defer`, in the next turn of the loop and in their order."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._deferred: list[Event] | None = None

    def __call__(self, event: Event) -> None:
        """Emit the event."""
        if self._deferred is None:
            self._emit(event)
        else:
            self._deferred.append(event)

    def defer(self) -> None:
        """Hold back what is emitted from here on until the next turn of the loop."""
        self._deferred = self._deferred or []
        # Timers are behind what is ready, so an order that is to start comes first.
        asyncio.get_running_loop().call_later(0, self._flush)

    def _flush(self) -> None:
        deferred, self._deferred = self._deferred, None
        for event in deferred or ():
            self._emit(event)
