"""Which thread, and which process, hears signals."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What asks a program to end: a service manager, Ctrl-C, a terminal that closes."""

SHOW_THREADS = signal.SIGQUIT
"""Makes a worker process of a supervisor write to stderr where each of its threads is."""

Hearer = Callable[[int, FrameType | None], object]

_hearer: Hearer | None = None
_numbers: tuple[signal.Signals, ...] = ()


def hear(hearer: Hearer) -> None:
    """Call `hearer` for each signal that asks this program to end. Only in the main thread.

    SIGHUP stays ignored where it was, so that `nohup` works. Signals that whoever started this
    program held back are let in.
    """
    global _hearer, _numbers  # noqa: PLW0603 - signals belong to the process, too
    if _hearer is None:
        _numbers = tuple(each for each in STOPPING if not _ignored(each))
    _hearer = hearer
    hear_again()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def hear_again() -> bool:
    """Take back the signals that a library has taken; returns whether one had.

    Some take SIGTERM when they are imported, or at their first use, and a drain would never begin.
    """
    taken = [each for each in _numbers if signal.getsignal(each) is not _hearer]
    for each in taken:
        signal.signal(each, _hearer)
    return bool(taken)


def leave(_number: int, _frame: FrameType | None) -> None:
    """End this process at once, as one that has drained: before its loop runs it holds nothing.

    Not by an exception, which the module of a handler that is being imported might catch.
    """
    os._exit(0)


def hear_no_more() -> None:
    """Signals do again what they do by default. What others have set since stays."""
    global _hearer
    hearer, _hearer = _hearer, None
    for each in _numbers:
        if signal.getsignal(each) is hearer:
            default = signal.default_int_handler if each is signal.SIGINT else signal.SIG_DFL
            signal.signal(each, default)


def leave_signals_to_the_main_thread() -> None:
    """Call it first in every other thread of ours that never runs the shop's code.

    Python runs signal handlers in the main thread only, but the kernel hands a signal to any: one
    that lands elsewhere doesn't interrupt a system call in which the main thread sits. Programs
    inherit the mask from the thread that starts them, so a handler's thread must not have it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))


@contextmanager
def held_back() -> Iterator[None]:
    """Signals that end a program wait until afterwards; one that is started inside inherits that.

    So it has the time to say what it makes of them, before the first can end it. Not for two at a
    time: each puts back what it found.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignored(number: signal.Signals) -> bool:
    return number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
