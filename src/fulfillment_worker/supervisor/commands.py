"""What the supervisor tells a child that consumes, as events of the child's loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from fulfillment_worker.runtime.stop_signals import PATIENCE, end_in
from fulfillment_worker.supervisor.messages import Abort, ChildsEnd, Look, Stop
from fulfillment_worker.system.signals import leave_signals_to_the_main_thread
from fulfillment_worker.system.threads import start_thread

_AFTER_GRACE = 10.0
"""Seconds over the grace in which a drain ends for certain; nobody is left to look after it."""


class Commands:
    """See runtime/lifecycle.py, Stop. It listens in a thread, which a blocked loop can't deafen.

    grace: seconds of a drain. Make it on the running loop, and `listen`.
    """

    def __init__(self, line: ChildsEnd, grace: float) -> None:
        self.asked = asyncio.Event()
        self.demanded = asyncio.Event()
        self._line = line
        self._look: Callable[[], None]
        self._grace = grace
        self._loop = asyncio.get_running_loop()

    def listen(self, look: Callable[[], None]) -> None:
        """Heed the supervisor from here on. look: called in the loop when orders were put back.

        Raises Shortage.
        """
        self._look = look
        start_thread(threading.Thread(target=self._listen, name="commands", daemon=True))

    def _listen(self) -> None:
        leave_signals_to_the_main_thread()
        listening = True
        while listening:
            listening = self._heed()

    def _heed(self) -> bool:
        """Whether there may be more."""
        match self._line.receive():
            case Look():
                self._call(self._look)
            case Stop():
                self._call(self.asked.set)
            case Abort():
                self._call(self.asked.set)
                self._call(self.demanded.set)
                end_in(PATIENCE)
            case None:
                # The supervisor is gone, however it went: finish what runs, and go too.
                self._call(self.asked.set)
                end_in(self._grace + _AFTER_GRACE)
                return False
            case _:
                pass
        return True

    def _call(self, function: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop has closed meanwhile
            self._loop.call_soon_threadsafe(function)
