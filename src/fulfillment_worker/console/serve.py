"""The life of the console: settings → port → served until a signal."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import uvicorn
from starlette.types import ASGIApp

from fulfillment_worker.config.settings import Settings
from fulfillment_worker.console.access import Access, Options
from fulfillment_worker.console.pages import Pages
from fulfillment_worker.console.queues import watched
from fulfillment_worker.console.web import Web
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.observability.listening import listen
from fulfillment_worker.runtime.exit_codes import DONE, FAILED
from fulfillment_worker.runtime.stop_signals import StopSignals
from fulfillment_worker.runtime.version import version

_MOST_CONNECTIONS = 500
_GRACE = 3
"""Seconds in which answers that are under way may end."""


def serve(settings: Settings, options: Options) -> int:
    """Serve the console until a signal; returns the exit code."""
    try:
        sockets = listen(options.host, options.port)
    except OSError as error:
        why = error.strerror or str(error)
        return _complain(
            f"the console's port {options.port} can't be bound: {why}; choose one with --port"
        )
    try:
        return asyncio.run(_serve(settings, options, sockets))
    except QueueUnavailable as error:
        return _complain(str(error))


async def _serve(settings: Settings, options: Options, sockets: list[socket.socket]) -> int:
    with StopSignals() as signals:
        async with served(settings, options, sockets):
            _say(_greeting(options, sockets[0].getsockname()[1]))
            await signals.asked.wait()
    return DONE


@asynccontextmanager
async def served(
    settings: Settings, options: Options, sockets: list[socket.socket]
) -> AsyncIterator[None]:
    """The console is served meanwhile, on sockets that listen.

    Raises QueueUnavailable where an embedded server can't be started.
    """
    async with watched(settings) as queues:
        access = Access(options, time.time)
        server = _server(Web(Pages(queues, access, settings.id_field), access, version()).app())
        serving = asyncio.create_task(server.serve(sockets))
        try:
            yield
        finally:
            server.should_exit = True
            await serving


def _server(app: ASGIApp) -> uvicorn.Server:
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE,
        )
    )
    # Signals are the program's: see StopSignals.
    setattr(server, "capture_signals", nullcontext)  # noqa: B010 - a method, for mypy
    return server


def _greeting(options: Options, port: int) -> str:
    shown = options.host or "0.0.0.0"
    shown = f"[{shown}]" if ":" in shown else shown
    may = ", ".join(sorted(options.allow)) if options.allow else "nothing: it is read-only"
    return f"the console is at http://{shown}:{port}/ and may do {may}; Ctrl-C ends it"


def _say(line: str) -> None:
    print(f"fulfillment-worker: {line}", file=sys.stderr, flush=True)  # noqa: T201 - for people


def _complain(line: str) -> int:
    _say(line)
    return FAILED
