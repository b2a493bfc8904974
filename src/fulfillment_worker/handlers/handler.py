"""What the worker calls for each order."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from fulfillment_worker.core.attempt import Attempt
from fulfillment_worker.core.order import Order
from fulfillment_worker.core.outcome import Result


class LoadedHandler(Protocol):
    """Runs the shop's code on one order at a time, many orders at once."""

    @property
    def name(self) -> str:
        """For logs: `package.module:function`, or a URL's scheme, host and port."""
        ...

    @property
    def blocking(self) -> bool:
        """Whether the code runs in a thread, which can't be stopped.

        The first cancellation of a call to a blocking handler then waits for the function to
        return; a second one gives up waiting, and the thread runs on by itself.
        """
        ...

    def __call__(self, order: Order, attempt: Attempt) -> Coroutine[Any, Any, Result]:
        """Fulfil `order`; an `async def` in all but name.

        Never raises. An attempt that is cancelled ends as well in a Result: see `cut_short`.
        """
        ...

    async def open(self) -> None:
        """Make ready what the code needs, before the first call.

        Raises ResourcesUnavailable where that may be tried again, and HandlerError where it can
        never work. Cancelled, it leaves nothing open.
        """
        ...

    async def close(self) -> None:
        """Let go of resources, threads and connections, without waiting for calls that run.

        Idempotent. Raises what the shop's code raises when its resources are closed.
        """
        ...
