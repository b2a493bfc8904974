"""When a process has done its share, and is to be replaced by a fresh one."""

from __future__ import annotations

import msgspec

from fulfillment_worker.observability.catalogue import ORDERS_PROCESSED
from fulfillment_worker.supervisor.snapshot import Snapshot

_RESIDENT = "process_resident_memory_bytes"
_SETTLED = 10.0
"""Seconds that a process lives at least: one that is too large from the start would be replaced
without an end."""


class ProcessLimits(msgspec.Struct, frozen=True):
    """What one process may do in its life. orders: attempts. rss: bytes. None: no limit."""

    orders: int | None = None
    rss: int | None = None


def exceeded(limits: ProcessLimits, snapshot: Snapshot, lived: float) -> str | None:
    """Why the process is to be replaced, or None. lived: seconds since it began to consume."""
    done = round(sum(snapshot.series(ORDERS_PROCESSED.family).values()))
    if limits.orders is not None and done >= limits.orders:
        return f"it has run {done} attempts, and --max-orders-per-process is {limits.orders}"
    size = round(sum(snapshot.series(_RESIDENT).values()))
    if limits.rss is not None and size > limits.rss and lived >= _SETTLED:
        return f"it holds {size} bytes, and --max-rss-per-process is {limits.rss}"
    return None
