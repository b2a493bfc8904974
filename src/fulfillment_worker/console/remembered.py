"""What was seen last, so that many viewers cost Redis no more than one, and an outage is no blank.

Nothing is read unless somebody looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fulfillment_worker.core.exchange import QueueUnavailable

T = TypeVar("T")

_SHARE = 10
"""What takes long to read rests for so many times as long: Redis gives it a tenth of its time."""


@dataclass(frozen=True)
class Seen(Generic[T]):
    """value: what was read last, None for nothing yet. at: when that was, Unix ms.

    fault: why it could not be read since, "" where it is new.
    """

    value: T | None = None
    at: int = 0
    fault: str = ""


class Remembered(Generic[T]):
    """fresh: seconds for which what was read is new. patience: seconds that a read may take.

    late: what is said where it takes longer. first: where that can't be read, this isn't tried.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        *,
        fresh: float = 1.0,
        patience: float = 3.0,
        late: str = "Redis gave no answer",
        first: Remembered[Any] | None = None,
    ) -> None:
        self._read = read
        self._fresh = fresh
        self._patience = patience
        self._first = first
        self._late = f"{late} within {patience:g} s"
        self._seen: Seen[T] = Seen()
        self._again_at = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self) -> Seen[T]:
        """What is known by now; raises nothing."""
        fault = (await self._first.get()).fault if self._first else ""
        if fault:
            return Seen(self._seen.value, self._seen.at, fault)
        async with self._lock:
            if time.monotonic() >= self._again_at:
                began = time.monotonic()
                self._seen = await self._look()
                took = time.monotonic() - began
                # Where Redis is silent, who waits for the lock is answered at once.
                self._again_at = time.monotonic() + max(
                    self._fresh, 0 if self._seen.fault else took * _SHARE
                )
        return self._seen

    def forget(self) -> None:
        """Read it anew the next time: somebody has just changed it."""
        self._again_at = float("-inf")

    async def _look(self) -> Seen[T]:
        try:
            async with asyncio.timeout(self._patience):
                value = await self._read()
        except QueueUnavailable as error:
            return Seen(self._seen.value, self._seen.at, str(error))
        except TimeoutError:
            return Seen(self._seen.value, self._seen.at, self._late)
        return Seen(value, round(time.time() * 1000))
