"""DaemonThreads: plain functions run, end and fail without ever harming the loop (invariant 4)."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from typing import TypeVar, cast

import pytest

from fulfillment_worker.handlers.daemon_threads import DaemonThreads
from tests.unit.handlers.waiting import DEADLINE, eventually, wait_for

A = TypeVar("A")
R = TypeVar("R")


@pytest.fixture
async def pool() -> AsyncIterator[DaemonThreads]:
    pool = DaemonThreads()
    yield pool
    await pool.close()


async def returned(pool: DaemonThreads, function: Callable[[A], R], argument: A) -> R:
    """What the function returns in a thread of the pool."""
    end = await pool.run(function, argument)
    assert end.raised is None
    return cast("R", end.returned)


def current(_: object) -> threading.Thread:
    return threading.current_thread()


class Gate:
    """A function that blocks until it is let go, and tells when it began and in which thread."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.let_go = threading.Event()
        self.returned = threading.Event()

    def __call__(self, argument: object) -> object:
        self.thread = threading.current_thread()
        self.began.set()
        wait_for(self.let_go)
        self.returned.set()
        return argument

    async def has_begun(self) -> None:
        await eventually(self.began.is_set)


async def test_returns_what_the_function_returns(pool: DaemonThreads) -> None:
    assert await pool.run(lambda number: number + 1, 41) == (42, None)


async def test_runs_in_a_daemon_thread(pool: DaemonThreads) -> None:
    thread = await returned(pool, current, None)
    assert thread is not threading.current_thread()
    assert thread.daemon
    assert thread.name.startswith("handler-")


async def test_copies_the_context(pool: DaemonThreads) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("outer")

    def look_and_change(_: object) -> str:
        seen = variable.get()
        variable.set("inner")
        return seen

    assert await returned(pool, look_and_change, None) == "outer"
    assert variable.get() == "outer"


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        StopIteration(),
        asyncio.CancelledError("mine"),
        BaseExceptionGroup("several", [SystemExit()]),
    ],
)
async def test_what_the_function_raises_is_told_and_not_raised(
    pool: DaemonThreads, error: BaseException
) -> None:
    first = await returned(pool, current, None)

    def fail(_: object) -> None:
        raise error

    assert await pool.run(fail, None) == (None, error)
    assert await returned(pool, current, None) is first  # it lives on


async def test_uses_the_thread_that_became_idle_last(pool: DaemonThreads) -> None:
    gates = [Gate(), Gate()]
    calls = [asyncio.create_task(pool.run(gate, None)) for gate in gates]
    for gate, call in zip(gates, calls, strict=True):
        await gate.has_begun()
        gate.let_go.set()
        await call
    for _ in range(5):
        assert await returned(pool, current, None) is gates[1].thread


async def test_grows_as_far_as_it_is_asked_to(pool: DaemonThreads) -> None:
    together = threading.Barrier(40)
    calls = (returned(pool, lambda _: together.wait(DEADLINE), None) for _ in range(40))
    assert sorted(await asyncio.gather(*calls)) == list(range(40))


async def test_idle_threads_end_except_for_some() -> None:
    pool = DaemonThreads(keep=2, idle_seconds=0.01)
    together = threading.Barrier(6)

    def meet(_: object) -> threading.Thread:
        together.wait(DEADLINE)
        return threading.current_thread()

    threads = await asyncio.gather(*(returned(pool, meet, None) for _ in range(6)))
    await eventually(lambda: sum(thread.is_alive() for thread in threads) == 2)
    assert (await returned(pool, current, None)).is_alive()
    await pool.close()
    await eventually(lambda: not any(thread.is_alive() for thread in threads))


async def test_close_ends_idle_threads_now_and_busy_ones_later() -> None:
    pool = DaemonThreads()
    gate = Gate()
    call = asyncio.create_task(pool.run(gate, "done"))
    await gate.has_begun()
    idle = await returned(pool, current, None)
    await pool.close()
    await pool.close()
    await eventually(lambda: not idle.is_alive())
    assert gate.thread.is_alive()
    gate.let_go.set()
    assert await call == ("done", None)
    await eventually(lambda: not gate.thread.is_alive())


async def test_a_cancelled_call_ends_when_its_function_has_returned(pool: DaemonThreads) -> None:
    gate = Gate()
    call = asyncio.create_task(pool.run(gate, None))
    await gate.has_begun()
    call.cancel()
    done, _ = await asyncio.wait([call], timeout=0.05)
    assert not done
    gate.let_go.set()
    assert await call == (None, None)
    assert gate.returned.is_set()
    assert await returned(pool, current, None) is gate.thread


async def test_failure_after_the_cancellation_is_told(pool: DaemonThreads) -> None:
    gate, error = Gate(), ValueError("oh")

    def fail(_: object) -> None:
        gate(None)
        raise error

    call = asyncio.create_task(pool.run(fail, None))
    await gate.has_begun()
    call.cancel()
    gate.let_go.set()
    assert await call == (None, error)


async def test_a_second_cancellation_gives_up_waiting(pool: DaemonThreads) -> None:
    gate = Gate()
    call = asyncio.create_task(pool.run(gate, None))
    await gate.has_begun()
    call.cancel()
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not gate.returned.is_set()
    gate.let_go.set()
    await eventually(gate.returned.is_set)


def test_a_loop_closed_meanwhile_harms_nobody() -> None:
    gate = Gate()

    async def abandon(pool: DaemonThreads) -> None:
        call = asyncio.create_task(pool.run(gate, None))
        await gate.has_begun()
        call.cancel()
        await asyncio.sleep(0)  # asyncio.run cancels it for the second time

    pool = DaemonThreads()
    with CaughtThreadErrors() as errors:
        asyncio.run(abandon(pool))
        gate.let_go.set()
        asyncio.run(pool.close())
        gate.thread.join(DEADLINE)
    assert not gate.thread.is_alive()
    assert errors == []


class CaughtThreadErrors:
    """Exceptions that end a thread while it is entered."""

    def __enter__(self) -> list[threading.ExceptHookArgs]:
        self.errors: list[threading.ExceptHookArgs] = []
        self.former: Callable[[threading.ExceptHookArgs], object] = threading.excepthook
        threading.excepthook = self.errors.append
        return self.errors

    def __exit__(self, *_: object) -> None:
        threading.excepthook = self.former


def test_a_hung_function_does_not_keep_the_process_alive() -> None:
    program = """
import asyncio, threading
from fulfillment_worker.handlers.daemon_threads import DaemonThreads
began = threading.Event()
def hang(_):
    began.set()
    threading.Event().wait()
async def main():
    call = asyncio.create_task(DaemonThreads().run(hang, None))
    await asyncio.to_thread(began.wait)
    call.cancel()
    await asyncio.sleep(0)
asyncio.run(main())
print("ended")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")


class Thing:
    """Something whose end can be seen."""


@pytest.mark.parametrize("fails", [False, True])
async def test_an_idle_thread_keeps_nothing_of_the_last_call(
    pool: DaemonThreads, fails: bool
) -> None:
    thing = Thing()
    gone = weakref.ref(thing)
    gc.disable()  # no cycle may need it
    try:
        await pool.run(lambda thing: 1 / (not fails), thing)
        del thing
        await eventually(lambda: gone() is None)
    finally:
        gc.enable()
