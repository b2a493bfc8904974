"""What a process that the shop's handler forks has of the worker: nothing.

A fork is a copy of the worker: its signal handlers, its connection to Redis, its metrics port, its
loop. `multiprocessing` forks by default up to Python 3.13. Here all of that is taken from the copy
at one place, right after the fork; and the copy ends when its worker does. A program that is
started with `subprocess` is no copy, and none of this concerns it.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import threading
import traceback
from contextlib import suppress
from functools import partial
from selectors import BaseSelector
from typing import NoReturn, Protocol
from weakref import WeakSet

from fulfillment_worker.system.signals import STOPPING, hear_no_more

forked = False
"""Whether this process is a copy, in which only the shop's code may run."""


class _HasFileno(Protocol):
    def fileno(self) -> int:
        """See io.IOBase."""
        ...


_selectors: WeakSet[BaseSelector] = WeakSet()
_files: WeakSet[_HasFileno] = WeakSet()
_lifeline: tuple[int, int] | None = None
_installed = False
_mask = threading.local()


def watch_for_forks() -> None:
    """From here on, whatever this process forks is made harmless. Idempotent."""
    global _installed, _lifeline  # noqa: PLW0603 - a hook can't be removed, so it is added once
    if not _installed:
        _installed = True
        # First, and by no code that could be traced itself: what traces (coverage, a debugger) has
        # locks. One that another thread held is never opened here, and the copy would wait for it
        # with the signals held back. `multiprocessing` and debuggers that follow a fork trace anew.
        os.register_at_fork(after_in_child=partial(sys.settrace, None))
        os.register_at_fork(
            before=_hold_signals, after_in_parent=_let_signals_in, after_in_child=_be_a_copy
        )
    if _lifeline is None:
        _lifeline = os.pipe()


def keep_loop(selector: BaseSelector) -> None:
    """A copy gets neither the loop of this selector nor what it watches."""
    _selectors.add(selector)


def keep(file: _HasFileno) -> None:
    """A copy doesn't get this file."""
    _files.add(file)


def end_copies() -> None:
    """End all copies, and what `multiprocessing` has started in other ways. Idempotent."""
    global _lifeline
    lifeline, _lifeline = _lifeline, None
    for each in lifeline or ():
        os.close(each)
    if multiprocessing := sys.modules.get("multiprocessing"):
        for process in multiprocessing.active_children():
            with suppress(Exception):
                process.terminate()


def leave(error: BaseException | None) -> NoReturn:
    """End this copy: the shop's code in it is done, and all else is the worker's.

    error: how it ended, which decides the exit code as it does for any program.
    """
    code = _exit_code(error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    os._exit(code & 0xFF)


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        with suppress(BaseException):
            traceback.print_exception(error)
        return 1
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    with suppress(BaseException):
        print(error.code, file=sys.stderr)  # noqa: T201 - as Python does
    return 1


def _hold_signals() -> None:
    """One that comes to the copy before it has forgotten the worker's handlers would be lost."""
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)


def _let_signals_in() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _be_a_copy() -> None:
    global forked  # noqa: PLW0603
    forked = True
    hear_no_more()
    signal.set_wakeup_fd(-1)
    _let_signals_in()
    # Should the handler wait for anything in the worker's loop, or return to it.
    for selector in _selectors:
        selector.select = _leave_loop  # type: ignore[method-assign,assignment]
    _sever([*_watched(), *(each.fileno() for each in _files)])
    _hold_on()


def _leave_loop(_timeout: float | None = None) -> NoReturn:
    leave(RuntimeError("a fork of the worker has no event loop; use `subprocess` or a pool"))


def _watched() -> list[int]:
    watched: list[int] = []
    for selector in _selectors:
        own: int = getattr(selector, "fileno", lambda: -1)()  # of those that are files, as epoll
        watched += [own, *(selector.get_map() or ())]
    return watched


def _sever(descriptors: list[int]) -> None:
    """Put nothing in the place of these files.

    Closed, their numbers would be free, and what still has them here would close, when it is
    collected, whatever the copy has opened under them since.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for each in descriptors:
        if each >= 0:
            os.dup2(nothing, each, inheritable=False)
    os.close(nothing)


def _hold_on() -> None:
    """Be told by SIGTERM when the worker has ended, however it did.

    Nobody else would: what waits for work from a pipe of which it has the other end, too, as the
    processes of a ProcessPoolExecutor do, waits for ever. The kernel sends the signal when the last
    process lets go of the end that is written to, and that is the worker's alone.
    """
    if _lifeline is None or not hasattr(fcntl, "F_SETSIG"):
        return
    theirs, ours = _lifeline
    try:
        # Opened anew: who is told is noted with the open file, which a fork shares.
        held = os.open(f"/proc/self/fd/{theirs}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # no /proc, or no descriptor left
        return
    _sever([ours])
    fcntl.fcntl(held, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(held, fcntl.F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(held, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    ended = select.poll()
    ended.register(held)
    if ended.poll(0):  # meanwhile
        os.kill(os.getpid(), signal.SIGTERM)
