"""A handler's function with a context manager of the shop's around each call."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from fulfillment_worker.core.order import Order
from fulfillment_worker.system import forks

Around = Callable[[Order], Any]


def surrounded_async(
    function: Callable[[Order], Awaitable[object]], around: Around
) -> Callable[[Order], Awaitable[object]]:
    """An async function that calls `function` within `around(order)`."""

    async def call(order: Order) -> object:
        manager = around(order)
        if is_async_manager(manager):
            async with manager:
                return await _left_in_fork(function(order))
        with manager:
            return await _left_in_fork(function(order))

    return call


def surrounded_plain(
    function: Callable[[Order], object], manager: Any
) -> Callable[[Order], object]:
    """A function that calls `function` within `manager`, all of it in one thread."""

    def call(order: Order) -> object:
        with manager:
            try:
                returned = function(order)
            except BaseException as error:
                if forks.forked:
                    forks.leave(error)
                raise
            if forks.forked:
                forks.leave(None)
            if inspect.isawaitable(returned):
                if inspect.iscoroutine(returned):
                    returned.close()
                raise TypeError(
                    "the handler is a plain function that returned a coroutine, which would run "
                    "outside of what is around it: make it an async function"
                )
            return returned

    return call


def is_async_manager(manager: object) -> bool:
    """Whether this context manager is async. Raises TypeError where it is none at all."""
    if hasattr(manager, "__aenter__"):
        return True
    if hasattr(manager, "__enter__"):
        return False
    raise TypeError(
        f"around returned something of type {type(manager).__name__}, which is no context manager"
    )


async def _left_in_fork(call: Awaitable[object]) -> object:
    """A copy of the worker that the handler forked ends here: the rest is the worker's to do."""
    try:
        returned = await call
    except BaseException as error:
        if forks.forked:
            forks.leave(error)
        raise
    if forks.forked:
        forks.leave(None)
    return returned
