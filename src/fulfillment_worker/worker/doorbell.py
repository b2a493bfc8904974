"""Rings when an order arrives at an empty queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fulfillment_worker.core.exchange import Queue, QueueUnavailable, Rung

_PATIENCE = 60.0
"""Seconds of one blocking command; long, since an idle worker should be free of cost."""
_PAUSE_AFTER_FAULT = 0.5
"""Seconds before the fault is looked into, so that a lasting one is no busy loop."""


class Doorbell:
    """Waits for an order beside the conversation, once asked to listen, until it rings.

    ring: called with what ended the wait; with nothing where the queue couldn't be asked.
    """

    def __init__(self, queue: Queue, ring: Callable[[Rung], None]) -> None:
        self._queue = queue
        self._ring = ring
        self._task: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Ring at the next order. Nothing happens where it is listening already."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._wait())

    async def close(self) -> None:
        """Listen no more. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _wait(self) -> None:
        rung = Rung()
        try:
            while rung == Rung():
                rung = await self._queue.wait(_PATIENCE)
        except QueueUnavailable:
            await asyncio.sleep(_PAUSE_AFTER_FAULT)
        self._ring(rung)
