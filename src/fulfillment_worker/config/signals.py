"""Which thread, and which process, hears signals."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What ends a program; the first two mean a drain to ours."""


def leave_signals_to_the_main_thread() -> None:
    """Call it first in every other thread of ours.

    Python runs signal handlers in the main thread only, but the kernel hands a signal to any: one
    that lands elsewhere doesn't interrupt a system call in which the main thread sits.
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
