"""How the demo shows itself: here with plain lines, for those without a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from fulfillment_worker.admin.inspector import Inspector
from fulfillment_worker.core.text import visible
from fulfillment_worker.demo.places import Places
from fulfillment_worker.demo.tally import DemoEvent, Tally

TITLE = "fulfillment-worker demo"
INVITATION = "Place an order yourself, from another shell:"
FAREWELL = "Ctrl-C ends everything"


class View(Protocol):
    """Shows a demo. Order of calls: `showing`, within it the others, then `summary`."""

    def showing(
        self, places: Places, tally: Tally, inspector: Inspector
    ) -> AbstractAsyncContextManager[None]:
        """Show it while entered."""
        ...

    def happened(self, demo_event: DemoEvent) -> None:
        """Something is worth a line. Called on the event loop; never raises."""
        ...

    def draining(self) -> None:
        """The demo comes to its end."""
        ...

    def summary(self, lines: list[str]) -> None:
        """Show what it came to; the last line holds the verdict."""
        ...


class PlainView:
    """Prints what happens, as it happens. on_lost: is called when nobody can read it any more."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost

    @asynccontextmanager
    async def showing(
        self,
        places: Places,
        tally: Tally,  # noqa: ARG002 - counts are told at the end
        inspector: Inspector,  # noqa: ARG002
    ) -> AsyncIterator[None]:
        """See View."""
        self._say(f"{TITLE}; {FAREWELL}")
        for name, place in places.named:
            self._say(f"  {name:<8} {place}")
        self._say(INVITATION)
        for command in places.commands:
            self._say(f"  {' '.join(command)}")
        yield

    def happened(self, demo_event: DemoEvent) -> None:
        """See View."""
        self._say(demo_event.text)

    def draining(self) -> None:
        """See View."""

    def summary(self, lines: list[str]) -> None:
        """See View."""
        for line in lines:
            self._say(line)

    def _say(self, line: str) -> None:
        try:
            print(visible(line), flush=True)  # noqa: T201 - it is what the command is for
        except OSError:
            silence()
            self._on_lost()


def silence() -> None:
    """Standard output has no reader any more: write what comes yet to nowhere.

    Python would fail at it once more when it flushes at the end.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
