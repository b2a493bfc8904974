"""Handlers that are Python functions."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from fulfillment_worker.core.attempt import Attempt
from fulfillment_worker.core.order import Order
from fulfillment_worker.core.outcome import SUCCEEDED, Result
from fulfillment_worker.handlers.daemon_threads import DaemonThreads, Ended
from fulfillment_worker.handlers.note import success
from fulfillment_worker.handlers.result import result_of
from fulfillment_worker.handlers.surrounded import (
    Around,
    is_async_manager,
    surrounded_async,
    surrounded_plain,
)
from fulfillment_worker.system import forks


class AsyncFunction:
    """Calls an async function on the event loop."""

    blocking = False

    def __init__(
        self,
        function: Callable[[Order], Awaitable[object]],
        name: str,
        around: Around | None = None,
    ) -> None:
        self._function = surrounded_async(function, around) if around else function
        self.name = name

    async def __call__(self, order: Order, attempt: Attempt) -> Result:
        """See LoadedHandler."""
        try:
            returned = await self._function(order)
            if returned is not None:
                returned = await _finish(returned)
        except BaseException as error:  # noqa: BLE001 - SystemExit too: it is one order's failure
            return result_of(error, attempt)
        if forks.forked:
            forks.leave(None)
        return SUCCEEDED if returned is None else success(returned)

    async def open(self) -> None:
        """Nothing is needed."""

    async def close(self) -> None:
        """Nothing is held."""


class PlainFunction:
    """Calls a plain function in a thread, so that it may block."""

    blocking = True

    def __init__(
        self, function: Callable[[Order], object], name: str, around: Around | None = None
    ) -> None:
        self._threads = DaemonThreads()
        self._function = function
        self._around = around
        self.name = name

    async def __call__(self, order: Order, attempt: Attempt) -> Result:
        """See LoadedHandler."""
        try:
            if self._around is None:
                returned, raised = await self._threads.run(self._function, order)
            else:
                returned, raised = await self._within(self._around(order), order)
            if raised is not None:
                return result_of(raised, attempt)
            if returned is not None:
                if attempt.cut_short and inspect.iscoroutine(returned):
                    returned.close()  # it has not begun, and there is no time for it any more
                    return attempt.cut_short
                returned = await _finish(returned)
        except BaseException as error:  # noqa: BLE001 - a shortage of threads, a cancellation
            return result_of(error, attempt)
        if forks.forked:
            forks.leave(None)
        return SUCCEEDED if returned is None else success(returned)

    async def _within(self, manager: Any, order: Order) -> Ended[object]:
        """As DaemonThreads.run, within this context manager."""
        if not is_async_manager(manager):
            return await self._threads.run(surrounded_plain(self._function, manager), order)
        returned: object = None
        async with manager:
            returned, raised = await self._threads.run(self._function, order)
            if raised is not None:
                raise raised
        return Ended(returned, None)

    async def open(self) -> None:
        """Nothing is needed."""

    async def close(self) -> None:
        """Let idle threads end; those that still run a function end after it."""
        await self._threads.close()


async def _finish(returned: object) -> object:
    """A handler that returned something unfinished has not done its work yet: what comes of it.

    A lambda or a decorator that calls an async function looks like a plain function from outside.
    """
    while inspect.isawaitable(returned):
        returned = await returned
    if inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        raise TypeError("the handler returned a generator, so none of its code has run")
    return returned
