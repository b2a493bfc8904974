"""The end of a process in which something goes on though it was told to stop."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from fulfillment_worker.core.shortage import Shortage
from fulfillment_worker.system.threads import start_thread

_THREADS = 2.0
"""Seconds in which threads that Python would wait for may end."""
_CALLBACKS = 3.0
"""Seconds in which what is registered with `atexit` is to be done."""


def end_process(code: int) -> NoReturn:
    """End as Python does, but in a few seconds.

    Pools of threads finish their work, what was registered with `atexit` is called, and what was
    printed is written. Python itself would wait for a hung thread for ever.
    """
    deadline = threading.Timer(_THREADS + _CALLBACKS, _end, (code,))
    deadline.daemon = True
    waiting = threading.Thread(target=_end_threads, name="last-threads", daemon=True)
    with suppress(Shortage):
        start_thread(deadline)
        start_thread(waiting)
        waiting.join(_THREADS)
    # Its faults are printed, and end nothing.
    atexit._run_exitfuncs()
    _end(code)


def _end_threads() -> None:
    """As Python's own end: idle pools end, busy ones finish what they were given."""
    for tell_pool in reversed(getattr(threading, "_threading_atexits", ())):
        with suppress(Exception):
            tell_pool()
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join()


def _end(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)
