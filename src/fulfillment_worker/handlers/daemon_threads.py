"""Daemon threads for plain functions.

concurrent.futures.ThreadPoolExecutor doesn't do. The interpreter joins its threads at exit, so
that one hung handler would hang the shutdown for ever; and its size is fixed, so that as many hung
handlers as it has threads would leave none for the orders that could go on. Here the threads are
daemons, and there is always one more: the worker's slots bound how many run at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

from fulfillment_worker.system import forks
from fulfillment_worker.system.threads import start_thread

A = TypeVar("A")
R = TypeVar("R")


class Ended(NamedTuple, Generic[R]):
    """How a function ended.

    raised: None where it returned. It is not raised on the loop, where a StopIteration would turn
    into a RuntimeError about coroutines, and a CancelledError would look like one of the loop's.
    """

    returned: R | None
    raised: BaseException | None


class DaemonThreads:
    """Runs functions in threads, each in the one that became idle last.

    keep: how many idle threads stay for good; the others end after idle_seconds without work.
    """

    def __init__(self, *, keep: int = 8, idle_seconds: float = 30.0) -> None:
        self._keep = keep
        self._idle_seconds = idle_seconds
        self._idle: list[_Thread] = []
        self._lock = threading.Lock()
        self._closed = False
        self._numbers = count(1)

    async def run(self, function: Callable[[A], R], argument: A) -> Ended[R]:
        """How `function(argument)` ends, in a thread and in a copy of the caller's context.

        A thread can't be stopped, so a cancelled call goes on until the function has ended;
        cancelled once more, it raises CancelledError at once and leaves the thread alone. Raises
        Shortage where no thread can be had.
        """
        call = _Call(function, argument)
        self._thread().inbox.put(call)
        return await call.ended()

    async def close(self) -> None:
        """Let idle threads end now, and busy ones when their function returns. Idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for thread in idle:
            thread.inbox.put(None)

    def _thread(self) -> _Thread:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        thread = _Thread(self, f"handler-{next(self._numbers)}")
        start_thread(thread)
        return thread

    def next_call(self, thread: _Thread) -> _AnyCall | None:
        """Wait for work; None when the thread has had none for too long, or the pool is closed."""
        while True:
            try:
                return thread.inbox.get(timeout=self._idle_seconds)
            except Empty:
                if self._dismiss(thread):
                    return None

    def rest(self, thread: _Thread) -> bool:
        """Put `thread` where the next call finds it; False when it should end instead."""
        with self._lock:
            if not self._closed:
                self._idle.append(thread)
            return not self._closed

    def _dismiss(self, thread: _Thread) -> bool:
        with self._lock:
            # Not idle any more: it was picked a moment ago, and its work is about to arrive.
            if thread not in self._idle or len(self._idle) <= self._keep:
                return False
            self._idle.remove(thread)
            return True


class _Thread(threading.Thread):
    def __init__(self, pool: DaemonThreads, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.inbox: SimpleQueue[_AnyCall | None] = SimpleQueue()
        self._pool = pool

    def run(self) -> None:
        stays = True
        while stays and (call := self._pool.next_call(self)) is not None:
            call.run()
            # Idle before the result is known, or else the next call would start a needless thread.
            stays = self._pool.rest(self)
            call.announce()
            del call  # an idle thread must not keep the last order in memory


class _Call(Generic[A, R]):
    """One call of a function: made and awaited on the loop, run in a thread."""

    def __init__(self, function: Callable[[A], R], argument: A) -> None:
        self._function = function
        self._argument = argument
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._announced = self._loop.create_future()
        self._end: Ended[R]

    def run(self) -> None:
        try:
            self._end = Ended(self._context.run(self._function, self._argument), None)
        except BaseException as error:  # noqa: BLE001 - the loop decides; the thread lives on
            self._end = Ended(None, error)
        if forks.forked:
            forks.leave(self._end.raised)

    def announce(self) -> None:
        """Wake the loop. A loop that has closed meanwhile has nobody left to tell."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._announced.set_result, None)

    async def ended(self) -> Ended[R]:
        # asyncio.wait, unlike await, leaves the future alone when the waiting task is cancelled.
        try:
            await asyncio.wait((self._announced,))
        except asyncio.CancelledError:
            await asyncio.wait((self._announced,))
        end = self._end
        del self._end  # an exception refers to the frame of `run`, which refers to this
        return end


_AnyCall = _Call[Any, Any]
