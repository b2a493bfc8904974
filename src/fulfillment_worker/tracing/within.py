"""Runs a coroutine in a context of its own, in whatever task or step its caller runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Within(Generic[R]):
    """Awaiting it runs `coroutine` to its end, every step of it in `context`.

    A variable that is set in the caller's context would be seen by all that the caller does until
    it is reset, and must be reset in the very same context; here neither can go wrong.

    on_cancel: told of a cancellation when it arrives, before the coroutine is.
    """

    __slots__ = ("_context", "_coroutine", "_on_cancel")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, R],
        context: Context,
        on_cancel: Callable[[asyncio.CancelledError], None],
    ) -> None:
        self._coroutine = coroutine
        self._context = context
        self._on_cancel = on_cancel

    def __await__(self) -> Generator[Any, Any, R]:
        run, coroutine = self._context.run, self._coroutine
        try:
            awaited = run(coroutine.send, None)
            while True:
                try:
                    yield awaited
                except GeneratorExit:
                    run(coroutine.close)
                    raise
                except BaseException as error:  # noqa: BLE001 - the coroutine's to handle
                    if isinstance(error, asyncio.CancelledError):
                        self._on_cancel(error)
                    awaited = run(coroutine.throw, error)
                else:
                    awaited = run(coroutine.send, None)
        except StopIteration as ended:
            result: R = ended.value
            return result
