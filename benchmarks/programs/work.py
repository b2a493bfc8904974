"""What an order takes in a peer's handler: the same as in programs/handlers.py.

Needs nothing but the standard library, for it runs in the peers' environments.
"""

from __future__ import annotations

import asyncio
import os
import time

from marks import first_to_get_here, mark

KIND = os.environ["BENCH_KIND"]
AT_ONCE = int(os.environ.get("BENCH_AT_ONCE", "0"))
REDIS_URL = f"redis://127.0.0.1:{os.environ['BENCH_REDIS_PORT']}/0"


async def async_work() -> None:
    """For peers whose handlers are coroutine functions."""
    mark()
    if seconds := _waiting():
        await asyncio.sleep(seconds)


def work() -> None:
    """For peers whose handlers are plain functions."""
    mark()
    if seconds := _waiting():
        time.sleep(seconds)


def _waiting() -> float:
    if KIND == "wait":
        return 0.01
    if KIND == "stick" and first_to_get_here():
        return 3600.0
    return 0.0
