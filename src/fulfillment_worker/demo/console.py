"""The demo's console, where what it needs is installed."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec

from fulfillment_worker.config.settings import Settings
from fulfillment_worker.console.access import NEEDS, RIGHTS, Options
from fulfillment_worker.observability.listening import listen

_HOST = "127.0.0.1"
_USUAL_PORT, _ANY_PORT = 8080, 0


@asynccontextmanager
async def console_beside(settings: Settings) -> AsyncIterator[str]:
    """The console is served meanwhile, and may do everything. Its address; "" where it can't be."""
    sockets = _listen() if all(map(find_spec, NEEDS)) else []
    if not sockets:
        yield ""
        return
    from fulfillment_worker.console.serve import served  # noqa: PLC0415 - it is an extra

    options = Options(_HOST, allow=frozenset(RIGHTS), user="demo")
    async with served(settings, options, sockets):
        yield f"http://{_HOST}:{sockets[0].getsockname()[1]}/"


def _listen() -> list[socket.socket]:
    for port in (_USUAL_PORT, _ANY_PORT):
        try:
            return listen(_HOST, port)
        except OSError:
            continue  # The demo goes on without.
    return []
