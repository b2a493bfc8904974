"""SIGTERM and SIGINT: the first asks to stop, the second demands it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

PATIENCE = 3.0
"""Seconds after the second signal until the process ends, however stuck its loop is."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """While entered, signals are events of the running loop: `asked`, then `demanded`.

    Python-level handlers are used, since the loop's own aren't heard while a handler blocks it.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.demanded = asyncio.Event()
        self._heard_before = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._before = {each: signal.signal(each, self._heard) for each in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        if self._heard_before:
            self._loop.call_soon_threadsafe(self.demanded.set)
            end_in(PATIENCE)
        else:
            self._heard_before = True
            self._loop.call_soon_threadsafe(self.asked.set)


def end_in(seconds: float) -> None:
    """End this process in so many seconds, whatever it is doing then."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
