"""The module `shop` of the workers. An order says in `do` how its handling goes wrong.

It runs in the workers' processes, on its own: it imports nothing of the tests. Whatever it does
goes into the independent record (see record.py).
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from fulfillment_worker import Order

_log = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_DSYNC, 0o600)
_slot = int(os.environ["SLOT"])
_supervised = "SUPERVISED" in os.environ
_numbers = itertools.count(1)
_hoard: list[bytearray] = []
_leaks: list[Any] = []
_fork = multiprocessing.get_context("fork")

_WATCHDOG = 2
"""Seconds after which a process without a supervisor is ended when it hangs."""
_PATIENCE = 10.0
"""Seconds for a child to end."""


def note(what: str, number: int, *more: object) -> None:
    """Write a line to the record."""
    try:
        line = json.dumps([what, os.getpid(), _slot, number, time.monotonic(), *more])
        os.write(_log, line.encode() + b"\n")
    except MemoryError:
        _hoard.clear()  # What is written down counts, so it must be possible.
        note(what, number, *more)


async def fulfil(order: Order) -> object:
    """The handler of most workers."""
    number, how, pid = next(_numbers), "raised", os.getpid()
    note("start", number, order.id, order.attempt, time.time())
    try:
        await asyncio.sleep(order.body.get("takes", 0))
        result = await _misbehave(order, number)
        how = "ok"
        return result
    except asyncio.CancelledError:
        how = "cut"
        raise
    finally:
        if os.getpid() == pid:  # What was forked here and left the same way has handled nothing.
            note("end", number, how)


def fulfil_plainly(order: Order) -> None:
    """The handler of the workers with plain handlers, which run in threads."""
    number, how, pid = next(_numbers), "raised", os.getpid()
    note("start", number, order.id, order.attempt, time.time())
    try:
        time.sleep(order.body.get("takes", 0))
        what = order.body.get("do", "")
        _fail(what, order.attempt)
        if what in FORKS:
            FORKS[what]()
        how = "ok"
    finally:
        if os.getpid() == pid:
            note("end", number, how)


async def _misbehave(order: Order, number: int) -> object:
    first, what = order.attempt == 1, order.body.get("do", "")
    _fail(what, order.attempt)
    if first and what in ONCE:
        await ONCE[what]()
    if what == "block":
        _turn_for(0.3)
    if what == "leak":
        _leak()
    if what in ("regex", "busy"):
        _hang(what)
    if what == "fork_exit":
        _exit()  # Not from a thread of an executor, which would keep the exception for itself.
    elif what in FORKS:
        await asyncio.to_thread(FORKS[what])
    if what in ("os_exit", "segfault"):
        note("end", number, "died")
        os._exit(9) if what == "os_exit" else ctypes.string_at(0)
    return Rubbish() if what == "rubbish" else None


def _fail(what: str, attempt: int) -> None:
    if (what == "raise" and attempt < 3) or (what == "fail_once" and attempt == 1):
        raise ValueError("as it was told")


async def _sleep_on() -> None:
    await asyncio.sleep(60)


async def _leave() -> None:
    sys.exit(7)


def _turn_for(seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:  # libfaketime knows no time.sleep.
        pass


async def _eat() -> None:
    try:
        while len(_hoard) < 1000:
            _hoard.append(bytearray(65536))
        await asyncio.sleep(0)
    except MemoryError:
        note("short", 0)
        await asyncio.sleep(0.05)  # The others have to do without.
        raise
    finally:
        _hoard.clear()


ONCE = {"hang": _sleep_on, "sys_exit": _leave, "eat": _eat}
"""What handlers do in the first attempt only."""


def _leak() -> None:
    _leaks.append(bytearray(1 << 20))
    _leaks.append(os.open(os.devnull, os.O_RDONLY))
    _leaks.append(asyncio.ensure_future(asyncio.sleep(3600)))
    _leaks.append(threading.Thread(target=threading.Event().wait))
    _leaks[-1].start()


class Rubbish:
    """What no code can do anything with."""

    def __bool__(self) -> bool:
        raise ValueError("rubbish")

    __str__ = __repr__ = __iter__ = __len__ = __bool__  # type: ignore[assignment]


def _hang(how: str) -> None:
    """For ever: the supervisor ends the process, or else the kernel, as a watchdog would."""
    if not _supervised:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_WATCHDOG)
    if how == "regex":
        re.match(r"(a+)+$", "a" * 60 + "b")  # Holds the interpreter, and all threads wait.
    while True:
        pass


# --- children -----------------------------------------------------------------------------------


def _program() -> None:
    """A program that is told to end, and does."""
    with subprocess.Popen(["sleep", "3600"]) as child:
        child.terminate()
        _expect(child.wait(_PATIENCE), -signal.SIGTERM)


def _process() -> None:
    """A forked process that is told to end, and does."""
    child = _fork.Process(target=time.sleep, args=(3600,))
    child.start()
    child.terminate()
    child.join(_PATIENCE)
    ends = time.monotonic() + _PATIENCE
    # Another thread, in its own `start`, may have seen the end first and be about to note it.
    while child.exitcode is None and time.monotonic() < ends:
        time.sleep(0.01)
    _expect(child.exitcode, -signal.SIGTERM)


def _daemon() -> None:
    """A forked process that is left behind."""
    _leaks.append(_fork.Process(target=time.sleep, args=(3600,), daemon=True))
    _leaks[-1].start()


def _pool() -> None:
    """A pool that does something and is ended."""
    with _fork.Pool(2) as pool:
        _expect(pool.map_async(len, ["a", "bc"]).get(_PATIENCE), [1, 2])


def _executor() -> None:
    """An executor that does something and is left behind."""
    _leaks.append(ProcessPoolExecutor(1, _fork))
    _expect(_leaks[-1].submit(len, "abc").result(_PATIENCE), 3)


def _exit() -> None:
    """A fork that ends by sys.exit, which is an exception that passes through the worker."""
    child = os.fork()
    if not child:
        sys.exit(0)
    ends = time.monotonic() + _PATIENCE
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > ends:
            raise RuntimeError("a fork that called sys.exit goes on")
        time.sleep(0.01)


def _expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise RuntimeError(f"{found} and not {wanted}")


FORKS = {
    "fork_program": _program,
    "fork_process": _process,
    "fork_daemon": _daemon,
    "fork_pool": _pool,
    "fork_executor": _executor,
    "fork_exit": _exit,
}
"""What handlers do with processes of their own, by what an order does."""
