"""Handlers that are Python functions."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from fulfillment_worker.config import forks
from fulfillment_worker.core.order import Order
from fulfillment_worker.handlers.errors import Escaped
from fulfillment_worker.handlers.threads import DaemonThreads


class AsyncFunction:
    """Calls an async function on the event loop."""

    blocking = False

    def __init__(self, function: Callable[[Order], Awaitable[object]], name: str) -> None:
        self._function = function
        self.name = name

    def __call__(self, order: Order) -> Coroutine[Any, Any, None]:
        return _settle(self._function, order)

    async def close(self) -> None:
        """Nothing is held."""


class PlainFunction:
    """Calls a plain function in a thread, so that it may block."""

    blocking = True

    def __init__(self, function: Callable[[Order], object], name: str) -> None:
        self._threads = DaemonThreads()
        self._in_thread = partial(self._threads.run, function)
        self.name = name

    def __call__(self, order: Order) -> Coroutine[Any, Any, None]:
        return _settle(self._in_thread, order)

    async def close(self) -> None:
        """Let idle threads end; those that still run a function end after it."""
        await self._threads.close()


async def _settle(function: Callable[[Order], Awaitable[object]], order: Order) -> None:
    """Run `function` to its end, and let nothing out that would end or confuse the worker."""
    try:
        try:
            result = await function(order)
            if result is not None:
                await _finish(result)
        finally:
            if forks.forked:
                forks.leave(sys.exception())
    except (Exception, GeneratorExit):
        # GeneratorExit is Python closing this very coroutine, which must not be answered.
        raise
    except asyncio.CancelledError as error:
        if _cancelled():
            raise
        # The handler's own: an inner task was cancelled, say. Passed on, it would look like a
        # shutdown, and the order would be requeued for ever.
        raise Escaped(error) from error
    except BaseException as error:
        raise Escaped(error) from error


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def _finish(result: object) -> None:
    """A handler that returned something unfinished has not done its work yet.

    A lambda or a decorator that calls an async function looks like a plain function from outside.
    """
    while inspect.isawaitable(result):
        result = await result
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise TypeError("the handler returned a generator, so none of its code has run")
