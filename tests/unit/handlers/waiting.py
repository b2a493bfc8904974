"""Waiting for what a test expects, never longer than a deadline."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

DEADLINE = 120.0


async def eventually(holds: Callable[[], bool], deadline: float = DEADLINE) -> None:
    """Return once `holds()`; fail after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not holds():
        assert time.monotonic() < end, "it did not become true in time"
        await asyncio.sleep(0.002)


def wait_for(event: threading.Event) -> None:
    """Wait in a thread, with a deadline."""
    assert event.wait(DEADLINE), "the event did not come in time"
