"""Several handlers, one for each queue."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

from fulfillment_worker.core.attempt import Attempt
from fulfillment_worker.core.order import Order
from fulfillment_worker.core.outcome import Result
from fulfillment_worker.handlers.handler import LoadedHandler


class HandlerPerQueue:
    """See LoadedHandler. handlers: by queue; the same one may serve several.

    All are opened, or none: where one can't be, those before it are closed again.
    """

    def __init__(self, handlers: Mapping[str, LoadedHandler]) -> None:
        self._by_queue = dict(handlers)
        self._each = tuple({id(each): each for each in handlers.values()}.values())
        self.name = ",".join(f"{queue}={each.name}" for queue, each in handlers.items())
        self.blocking = any(each.blocking for each in self._each)

    async def open(self) -> None:
        """See LoadedHandler."""
        async with AsyncExitStack() as opened:
            for each in self._each:
                await each.open()
                opened.push_async_callback(each.close)
            opened.pop_all()

    def __call__(self, order: Order, attempt: Attempt) -> Coroutine[Any, Any, Result]:
        """See LoadedHandler."""
        return self._by_queue[order.queue](order, attempt)

    async def close(self) -> None:
        """See LoadedHandler. All are closed, whatever one of them raises."""
        async with AsyncExitStack() as closing:
            for each in self._each:
                closing.push_async_callback(each.close)
