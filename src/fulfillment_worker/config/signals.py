"""Which thread hears signals."""

from __future__ import annotations

import signal


def leave_signals_to_the_main_thread() -> None:
    """Call it first in every other thread of ours.

    Python runs signal handlers in the main thread only, but the kernel hands a signal to any: one
    that lands elsewhere doesn't interrupt a system call in which the main thread sits.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
