"""The event loop's life, whatever handlers do to it."""

from __future__ import annotations

import asyncio
import select
import sys
import threading
from collections.abc import Coroutine
from logging import ERROR
from typing import Any, TypeVar

from fulfillment_worker.observability.logs import log
from fulfillment_worker.system import forks

_R = TypeVar("_R")
_LAST_CHANCE = 0.5
"""Seconds in which handlers that were given up may still end, before the process leaves them."""
_STOPPED = "it goes on, and nothing is lost; find what calls loop.stop() in the handler's code"


def run_loop(main: Coroutine[Any, Any, int]) -> tuple[int, bool]:
    """Run `main`; returns its result, and whether a handler goes on though it was told to stop.

    Where one does, the loop is left as it is: to close it would mean to wait for the handler.
    """
    runner = asyncio.Runner(loop_factory=_new_loop)
    obstinate = False
    try:
        code = _run_through(runner.get_loop(), main)
        obstinate = _run_through(runner.get_loop(), _goes_on())
    finally:
        if not obstinate:
            runner.close()
    return code, obstinate


def _run_through(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, _R]) -> _R:
    """A handler may end the loop, but not the worker: by `loop.stop()`, or by a task that it made
    and that raises SystemExit.
    """
    asyncio.set_event_loop(loop)
    task = loop.create_task(main)
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt):
            if task.done():
                raise
        except RuntimeError:
            # Of loop.stop(), or of the worker itself.
            if task.done() or loop.is_closed():
                raise
            log(ERROR, "loop_stopped", next=_STOPPED)


def _new_loop() -> asyncio.AbstractEventLoop:
    if not hasattr(select, "epoll"):  # not Linux
        return asyncio.new_event_loop()
    # Its class can't even be made elsewhere.
    from fulfillment_worker.runtime.precise_selector import PreciseSelector  # noqa: PLC0415

    selector = PreciseSelector()
    forks.keep_loop(selector)
    return asyncio.SelectorEventLoop(selector)


async def _goes_on() -> bool:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others and (await asyncio.wait(others, timeout=_LAST_CHANCE))[1]:
        return True
    # The default executor's threads are joined at exit, be they busy or hung.
    ending = asyncio.ensure_future(asyncio.get_running_loop().shutdown_default_executor())
    await asyncio.wait({ending}, timeout=_LAST_CHANCE)
    return _python_would_wait()


def _python_would_wait() -> bool:
    """Whether there are threads that Python waits for at its end, be they busy or hung.

    It does for those of pools, too, which are daemons where a thread of ours has made them.
    """
    pools = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", ())
    others = [thread for thread in threading.enumerate() if thread is not _MAIN]
    return any(not thread.daemon or thread in pools for thread in others)


_MAIN = threading.main_thread()
