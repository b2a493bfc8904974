"""What an order takes in a peer's handler: the same as in programs/handlers.py.

Needs nothing but the standard library, for it runs in the peers' environments.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from marks import arrive, first_to_get_here, mark

KIND = os.environ["BENCH_KIND"]
AT_ONCE = int(os.environ.get("BENCH_AT_ONCE", "0"))
REDIS_URL = f"redis://127.0.0.1:{os.environ['BENCH_REDIS_PORT']}/0"


async def async_work(order: dict[str, Any] | None = None) -> None:
    """For peers whose handlers are coroutine functions. order: where it is asked which one."""
    _told(order)
    if seconds := _waiting():
        await asyncio.sleep(seconds)


def work() -> None:
    """For peers whose handlers are plain functions."""
    _told(None)
    if seconds := _waiting():
        time.sleep(seconds)


def _told(order: dict[str, Any] | None) -> None:
    if order is not None and KIND.startswith("arrived"):
        arrive(order["order_id"])
    else:
        mark()


def _waiting() -> float:
    if KIND in ("wait", "arrived_wait"):
        return 0.01
    if KIND == "stick" and first_to_get_here():
        return 3600.0
    return 0.0
