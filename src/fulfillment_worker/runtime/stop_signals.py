"""SIGTERM and SIGINT: the first asks to stop, the second demands it. SIGHUP asks, too."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Self

from fulfillment_worker.core.shortage import Shortage
from fulfillment_worker.system.signals import hear, hear_no_more
from fulfillment_worker.system.threads import start_thread

PATIENCE = 3.0
"""Seconds after the second signal until the process ends, however stuck its loop is."""


class StopSignals:
    """While entered, signals are events of the running loop: `asked`, then `demanded`.

    Python-level handlers are used, since the loop's own aren't heard while a handler blocks it.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.demanded = asyncio.Event()
        self._heard_before = False

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        hear(self._heard)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        hear_no_more()

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            # It never demands: a terminal that closes sends it, and then so does the shell in it.
            self._loop.call_soon_threadsafe(self.asked.set)
        elif self._heard_before:
            self._loop.call_soon_threadsafe(self.demanded.set)
            end_in(PATIENCE)
        else:
            self._heard_before = True
            self._loop.call_soon_threadsafe(self.asked.set)


def end_in(seconds: float) -> None:
    """End this process in so many seconds, whatever it is doing then."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    try:
        start_thread(timer)
    except Shortage:
        # The kernel's own timer: its signal ends a program that doesn't handle it.
        signal.setitimer(signal.ITIMER_REAL, seconds)
