"""An event loop in virtual time: it never waits, and runs when the world says so."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

_RESOLUTION = 1e-6
"""Seconds within which a timer counts as due: sums of floats are not exact."""


class Host(Protocol):
    """The machine that a loop runs on."""

    def monotonic(self) -> float:
        """Its monotonic clock, in seconds."""
        ...

    async def connect(
        self, factory: Callable[[], asyncio.Protocol]
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Open a connection to Redis."""
        ...

    def failed(self, context: dict[str, Any]) -> None:
        """Something raised, and nobody caught it."""
        ...


class VirtualLoop(asyncio.BaseEventLoop):
    """asyncio's own loop, but for its time, its connections and the way in which it is driven."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host
        self.set_exception_handler(lambda _, context: host.failed(context))

    def time(self) -> float:
        """The host's monotonic clock."""
        return self._host.monotonic()

    @property
    def next_at(self) -> float:
        """When it has something to do, by its own time; infinity for never."""
        if self._ready:
            return float("-inf")
        timers = self._scheduled
        while timers and timers[0].cancelled():
            self._drop_timer()
        return timers[0].when() if timers else float("inf")

    def turn(self, goes_on: Callable[[], bool]) -> None:
        """Run what is ready, one after another. goes_on: asked before each; False ends the turn."""
        due = self.time() + _RESOLUTION
        while self._scheduled and self._scheduled[0].when() <= due:
            self._ready.append(self._drop_timer())
        asyncio._set_running_loop(self)
        try:
            for _ in range(len(self._ready)):
                if not goes_on():
                    return
                handle = self._ready.popleft()
                if not handle.cancelled():
                    self._run(handle)
        finally:
            asyncio._set_running_loop(None)

    def _run(self, handle: asyncio.Handle) -> None:
        # A task that the handler made may raise these. runtime/loop.py goes on, too.
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            handle._run()

    def _drop_timer(self) -> asyncio.TimerHandle:
        handle = heapq.heappop(self._scheduled)
        handle._scheduled = False  # type: ignore[attr-defined]
        if handle.cancelled():
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
        return handle

    async def create_unix_connection(self, factory: Any, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        """To Redis, wherever that is."""
        return await self._host.connect(factory)

    def __del__(self) -> None:
        """It holds nothing of the system that would have to be closed."""
