"""Enqueues orders with a peer's own client: all at once, one after another, or as it is told.

    produce.py MODULE bulk|singly|paced

MODULE has `enqueue(orders)`, a function or a coroutine function. Needs nothing but the standard
library and what MODULE imports.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

MANY = int(os.environ["BENCH_MANY"])
ORDER = os.environ["BENCH_ORDER"]
MARKS = Path(os.environ["BENCH_MARKS"])
Enqueue = Callable[[list[dict[str, Any]]], Awaitable[None]]


async def bulk(enqueue: Enqueue) -> None:
    """All, a thousand at a time."""
    for start in range(0, MANY, 1000):
        await enqueue([order(number) for number in range(start, min(MANY, start + 1000))])


async def singly(enqueue: Enqueue) -> None:
    """Each when the one before has been started and the worker is idle again; prints when."""
    for number in range(MANY):
        # Of no fixed length, so that it can't keep step with a worker that polls.
        await asyncio.sleep(random.uniform(0.1, 0.2))
        placed = time.monotonic_ns()
        await enqueue([order(number)])
        await started(number + 1)
        print(placed)


async def paced(enqueue: Enqueue) -> None:
    """Those whose numbers come as lines of standard input, at once; none waits for another."""
    reader = asyncio.StreamReader(limit=2**24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    under_way: set[asyncio.Future[None]] = set()
    rest = b""
    while chunk := await reader.read(2**16):
        *lines, rest = (rest + chunk).split(b"\n")
        task = asyncio.ensure_future(enqueue([order(int(line)) for line in lines]))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


async def started(many: int) -> None:
    """Return when so many orders have been started."""
    ends = time.monotonic() + 30
    while not MARKS.exists() or MARKS.read_bytes().count(b"\n") < many:
        if time.monotonic() > ends:
            sys.exit(f"order {many} was not started within 30 s")
        await asyncio.sleep(0.002)


def order(number: int) -> dict[str, Any]:
    """The order as Python has it."""
    body: dict[str, Any] = json.loads(ORDER % number)
    return body


async def main(module: str, mode: str) -> None:
    """Enqueue what the environment says."""
    given = importlib.import_module(module).enqueue

    async def enqueue(orders: list[dict[str, Any]]) -> None:
        result = given(orders)
        if inspect.isawaitable(result):
            await result

    await {"bulk": bulk, "singly": singly, "paced": paced}[mode](enqueue)


asyncio.run(main(*sys.argv[1:]))
