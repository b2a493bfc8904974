"""The demo for those without a terminal: a plain line for each happening."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fulfillment_worker.config.redact import visible
from fulfillment_worker.queue.inspector import Inspector
from fulfillment_worker.runtime.demo_places import Places
from fulfillment_worker.runtime.demo_tally import Happening, Tally

_ANY_WIDTH = 10_000


class PlainView:
    """Prints what happens, as it happens. on_lost: is called when nobody can read it any more."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost

    def happened(self, happening: Happening) -> None:
        """See View."""
        self._say(happening.text)

    @asynccontextmanager
    async def showing(
        self,
        places: Places,
        tally: Tally,  # noqa: ARG002 - see View
        inspector: Inspector,  # noqa: ARG002
    ) -> AsyncIterator[None]:
        """See View."""
        for line in opening(places, _ANY_WIDTH):
            self._say(line)
        yield

    def draining(self) -> None:
        """See View."""
        self._say("ending: no more orders are placed, and those that run may finish")

    def close(self, lines: list[str], faults: list[str]) -> None:
        """See View."""
        for line in [*lines, *faults]:
            self._say(line)

    def _say(self, line: str) -> None:
        try:
            print(visible(line), flush=True)  # noqa: T201 - it is what the command is for
        except OSError:
            # Else Python would fail at it again when it flushes at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._on_lost()


def opening(places: Places, width: int) -> list[str]:
    """Where things are."""
