"""A handler's resources: made once in a process, taken by name, closed at the end."""

from __future__ import annotations

import asyncio
import difflib
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fulfillment_worker.core.handler import ResourceManager
from fulfillment_worker.core.redaction import redact
from fulfillment_worker.handlers.daemon_threads import DaemonThreads
from fulfillment_worker.handlers.errors import HandlerError, ResourcesUnavailable
from fulfillment_worker.handlers.result import describe

_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Resources:
    """What `make` makes, from `open` to `close`.

    One task enters and leaves the context manager, since some (those with task groups in them) have
    to be left by the task that entered them. name: for messages.
    """

    def __init__(self, make: Callable[[], ResourceManager], name: str) -> None:
        self._make = make
        self._name = name
        self._threads = DaemonThreads(keep=0)
        self._closing: asyncio.Event
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> Mapping[str, object]:
        """The resources by name.

        Raises ResourcesUnavailable where making them failed, and HandlerError where what is made is
        of no use. Cancelled, it leaves nothing open.
        """
        opened: asyncio.Future[Mapping[str, object]] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._task = task = asyncio.create_task(self._keep(opened))
        try:
            either: set[asyncio.Future[Any]] = {task, opened}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if opened.done():
            return opened.result()
        self._task = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if isinstance(error, HandlerError):
            raise error
        assert error is not None  # it ends without one only after it was opened
        raise ResourcesUnavailable(redact(describe(error))) from error

    async def close(self) -> None:
        """Close them, if they are open; raises what that raises. Idempotent."""
        task, self._task = self._task, None
        if task is None:
            return
        self._closing.set()
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            await self._threads.close()

    async def _keep(self, opened: asyncio.Future[Mapping[str, object]]) -> None:
        async with self._entered(self._make()) as values:
            opened.set_result(self._checked(values))
            await self._closing.wait()

    @asynccontextmanager
    async def _entered(self, manager: object) -> AsyncIterator[object]:
        if hasattr(manager, "__aenter__"):
            async with manager as values:  # type: ignore[attr-defined]
                yield values
        elif hasattr(manager, "__enter__"):
            values = await self._in_thread(_enter, manager)
            try:
                yield values
            finally:
                await self._in_thread(_leave, manager)
        else:
            raise HandlerError(f"{self._name} are made by a function that returns {_told(manager)}")

    async def _in_thread(self, function: Callable[[Any], object], manager: object) -> object:
        returned, raised = await self._threads.run(function, manager)
        if raised is not None:
            raise raised
        return returned

    def _checked(self, values: object) -> Mapping[str, object]:
        if values is None:
            return {}
        if isinstance(values, Mapping) and all(isinstance(name, str) for name in values):
            return values
        raise HandlerError(
            f"{self._name} must be a dictionary of names and values, as in yield {{'db': pool}}, "
            f"but what is yielded is of type {type(values).__name__}"
        )


def check_maker(make: object, name: str) -> None:
    """Whether `make` can make context managers. Raises HandlerError, saying why it can't."""
    if inspect.isasyncgenfunction(make) or inspect.isgeneratorfunction(make):
        which = "asynccontextmanager" if inspect.isasyncgenfunction(make) else "contextmanager"
        raise HandlerError(f"{name} is a generator function: decorate it with contextlib.{which}")
    if inspect.iscoroutinefunction(make):
        raise HandlerError(
            f"{name} is an async function, and no context manager: yield what it returns, and "
            "decorate it with contextlib.asynccontextmanager"
        )
    if not callable(make):
        raise HandlerError(
            f"{name} must be a function that returns a context manager, but it is of type "
            f"{type(make).__name__}"
        )


def bound(
    function: Callable[..., Any], values: Mapping[str, object], name: str
) -> Callable[..., Any]:
    """`function`, which then takes the order alone: what else it names, it gets of `values`.

    Raises HandlerError where it names what isn't there, and has no default for it.
    """
    try:
        signature = _signature(function)
    except (TypeError, ValueError):
        return function  # some of C's functions don't tell
    _, *more = signature.parameters.values()
    wanted = {each.name for each in more if each.kind in _KINDS}
    needed = {each.name for each in more if each.kind in _KINDS and each.default is each.empty}
    for missing in sorted(needed - values.keys()):
        raise HandlerError(_not_there(missing, values, name))
    if any(each.kind is each.VAR_KEYWORD for each in more):
        wanted |= values.keys()
    taken = {each: values[each] for each in wanted & values.keys()}
    return functools.partial(function, **taken) if taken else function


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """What it takes: where a decorator passes on whatever it is given, what is decorated does."""
    signature = inspect.signature(function, follow_wrapped=False)
    kinds = {each.kind for each in signature.parameters.values()}
    return inspect.signature(function) if inspect.Parameter.VAR_KEYWORD in kinds else signature


def _not_there(missing: str, values: Mapping[str, object], name: str) -> str:
    there = ", ".join(sorted(values)) or "none"
    near = difflib.get_close_matches(missing, values, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{name} takes {missing!r}, which is none of its resources ({there}){hint}"


def _enter(manager: Any) -> object:
    return manager.__enter__()


def _leave(manager: Any) -> None:
    manager.__exit__(None, None, None)


def _told(found: object) -> str:
    if inspect.isawaitable(found):
        if inspect.iscoroutine(found):
            found.close()  # or Python would complain that it was never awaited
        return "an awaitable, and no context manager"
    return f"no context manager, but something of type {type(found).__name__}"
