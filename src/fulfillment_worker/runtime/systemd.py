"""What systemd is told of a service with `Type=notify` (sd_notify(3)): a datagram each."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

from fulfillment_worker.core.events import Event, ResourcesUnready, WorkerDraining, WorkerStarted

_STARTS_WITHIN_USEC = 120_000_000
"""Microseconds more that a start may take which waits for resources; said anew at each attempt."""


class Systemd:
    """Says nothing where systemd didn't ask for it.

    environ: what systemd has put into the environment. pid: of this process; a watchdog may be
    meant for another.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, pid: int | None = None) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        meant = environ.get("WATCHDOG_PID") or str(pid or os.getpid())
        watched = environ.get("WATCHDOG_USEC") and meant == str(pid or os.getpid())
        self._watched = bool(watched)
        self._ready = False

    def observe(self, event: Event) -> None:
        """See Observer."""
        if isinstance(event, WorkerStarted):
            self.ready()
        elif isinstance(event, ResourcesUnready):
            self._say(f"STATUS={event.why}\nEXTEND_TIMEOUT_USEC={_STARTS_WITHIN_USEC}")
        elif isinstance(event, WorkerDraining):
            self.stopping()

    def ready(self) -> None:
        """It has started."""
        self._ready = True
        self._say("READY=1")

    def watchdog(self) -> None:
        """Its loop turns. Nothing before it is ready: until then systemd watches the time alone."""
        if self._watched and self._ready:
            self._say("WATCHDOG=1")

    def stopping(self) -> None:
        """It drains."""
        self._say("STOPPING=1")

    def _say(self, what: str) -> None:
        if not self._address:
            return
        # An abstract address begins with a zero byte, which an environment can't hold.
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.setblocking(False)
            to.sendto(what.encode(), address)
