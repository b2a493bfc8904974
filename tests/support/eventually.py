"""Waiting for something to become true: with a deadline, and a word on what it was."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_SHORTEST, _LONGEST = 0.01, 0.1
"""Seconds between two looks: a tenth of the time waited so far, within these."""
PATIENCE = 300.0
"""Seconds. Far more than a slow machine needs: it ends only a test that would hang for ever."""


def eventually(predicate: Callable[[], T], *, deadline: float = PATIENCE, what: str = "") -> T:
    """The first true value of `predicate`; an AssertionError in it means "not yet".

    deadline: seconds. what: what is waited for, for the failure's message.
    """
    attempts = _Attempts(deadline, what, predicate)
    while True:
        with attempts:
            value = predicate()
            if attempts.came_true(value):
                return value
        time.sleep(attempts.pause())


async def aeventually(
    predicate: Callable[[], T | Awaitable[T]], *, deadline: float = PATIENCE, what: str = ""
) -> T:
    """As `eventually`, in a running event loop; `predicate` may be a coroutine function."""
    attempts = _Attempts(deadline, what, predicate)
    while True:
        with attempts:
            found = predicate()
            value: T = await found if inspect.isawaitable(found) else found
            if attempts.came_true(value):
                return value
        await asyncio.sleep(attempts.pause())


class _Attempts:
    """Counts down to the deadline, and remembers how the last attempt failed."""

    def __init__(self, deadline: float, what: str, predicate: Callable[[], object]) -> None:
        self._began = time.monotonic()
        self._ends = self._began + deadline
        self._deadline = deadline
        self._what = what or inspect.getsource(predicate).strip()
        self._last = "nothing was seen"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if isinstance(error, AssertionError):
            self._last = f"the last try failed: {error}"
        elif error is not None or self._last == "true":
            return False
        if time.monotonic() > self._ends:
            raise AssertionError(
                f"not within {self._deadline:g} s: {self._what}\n{self._last}"
            ) from error
        return True

    def pause(self) -> float:
        """Until the next look: who waits for long mustn't take the time of those waited for."""
        return min(_LONGEST, max(_SHORTEST, (time.monotonic() - self._began) / 10))

    def came_true(self, value: object) -> bool:
        self._last = "true" if value else f"the last value was {value!r}"
        return bool(value)
