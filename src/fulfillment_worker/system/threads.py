"""Starts threads, and says it in words where the system has none left."""

from __future__ import annotations

import threading

from fulfillment_worker.core.shortage import Shortage

_WHY = (
    "no thread can be started ({}): raise the limit of processes and threads "
    "(ulimit -u, pids.max, TasksMax=), or lower --concurrency"
)


def start_thread(thread: threading.Thread) -> None:
    """Start it. Raises Shortage, whose message is one line for people."""
    try:
        thread.start()
    except (RuntimeError, MemoryError, OSError) as error:
        raise Shortage(_WHY.format(str(error) or type(error).__name__)) from error
