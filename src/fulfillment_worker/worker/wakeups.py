"""Waits for the order that wakes an idle worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fulfillment_worker.core.exchange import Queue, QueueUnavailable, Wakeup

_PATIENCE = 60.0
"""Seconds of one blocking command; long, since an idle worker should be free of cost."""
_PAUSE_AFTER_FAULT = 0.5
"""Seconds before the fault is looked into, so that a lasting one is no busy loop."""


class Wakeups:
    """Waits beside the exchanges for an order, once asked to listen.

    wake: called with what ended the wait; with nothing where the queue couldn't be asked.
    """

    def __init__(self, queue: Queue, wake: Callable[[Wakeup], None]) -> None:
        self._queue = queue
        self._wake = wake
        self._task: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Wake at the next order, once. Nothing happens where it is listening already."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._wait())

    async def close(self) -> None:
        """Listen no more. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _wait(self) -> None:
        wakeup = Wakeup()
        try:
            while wakeup == Wakeup():
                wakeup = await self._queue.wait(_PATIENCE)
        except QueueUnavailable:
            await asyncio.sleep(_PAUSE_AFTER_FAULT)
        self._wake(wakeup)
