"""What each turn of the loop keeps alive: the watchdogs, and the signals.

A loop that doesn't turn any more can't be told to, and while a handler keeps the interpreter to
itself (one regular expression is enough) no thread of Python's runs either. So the process has told
others before what to do then: systemd, and a thread of C's that ends it.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from contextlib import suppress

from fulfillment_worker.runtime.systemd import Systemd
from fulfillment_worker.system.signals import hear_again

_SHORTEST = 30.0
"""Seconds at least without a turn after which the process ends itself: as long as the documented
liveness probe waits."""
_LEASES = 3.0
_INTERVAL = 1.0


class Heartbeat:
    """Call `beat` in each turn of the loop, and `stop` when it has had its last.

    lease: seconds. Longer than that nothing is held any more, so nothing is lost with the process.
    """

    def __init__(self, lease: float, systemd: Systemd) -> None:
        self._ends_after = max(_SHORTEST, _LEASES * lease)
        self._systemd = systemd
        self._next = 0.0
        # Who sits at a terminal may sit in a debugger, too, and has Ctrl-C.
        self._armed = not _attended() and _can_be_told()

    def beat(self) -> None:
        """The loop turns."""
        hear_again()
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _INTERVAL
        self._systemd.watchdog()
        if self._armed:
            with suppress(RuntimeError):  # no thread is to be had; the next turn tries again
                faulthandler.dump_traceback_later(self._ends_after, exit=True)

    def stop(self) -> None:
        """The loop has ended as it should."""
        if self._armed:
            faulthandler.cancel_dump_traceback_later()


def _attended() -> bool:
    try:
        return os.isatty(0)
    except OSError:
        return False


def _can_be_told() -> bool:
    """Whether there is a file to which the tracebacks can be written."""
    try:
        return sys.stderr is not None and sys.stderr.fileno() >= 0
    except (OSError, ValueError, AttributeError):
        return False
