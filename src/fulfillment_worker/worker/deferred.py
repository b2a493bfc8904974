"""Events that are told a moment later, where an order waits to be started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fulfillment_worker.core.events import Event


class DeferredTell:
    """Tells events at once, or, after `defer`, in the next turn of the loop and in their order."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell
        self._deferred: list[Event] | None = None

    def __call__(self, event: Event) -> None:
        """Tell the event."""
        if self._deferred is None:
            self._tell(event)
        else:
            self._deferred.append(event)

    def defer(self) -> None:
        """Hold back what is told from here on until the next turn of the loop."""
        self._deferred = self._deferred or []
        # Timers are behind what is ready, so the order starts first.
        asyncio.get_running_loop().call_later(0, self._tell_deferred)

    def _tell_deferred(self) -> None:
        deferred, self._deferred = self._deferred, None
        for event in deferred or ():
            self._tell(event)
