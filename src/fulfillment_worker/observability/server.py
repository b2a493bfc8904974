"""The metrics port: served from a thread of its own, so that no handler can stop a scrape."""

from __future__ import annotations

import asyncio
import errno
import logging
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from fulfillment_worker.config import forks
from fulfillment_worker.config.signals import leave_signals_to_the_main_thread
from fulfillment_worker.config.threads import start_thread
from fulfillment_worker.observability.connection import Connection, Limits, read_buffer
from fulfillment_worker.observability.health import Probed
from fulfillment_worker.observability.listening import listen
from fulfillment_worker.observability.pages import Pages
from fulfillment_worker.observability.routes import Probe, probes

_log = logging.getLogger(__name__)
# Connections accepted in one go, as a share of all that there may be: a flood of them must neither
# keep the others from their turn, nor end the newest before what they ask was read.
_ACCEPTS = 1 / 8
_NO_DESCRIPTOR_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_ACCEPT_AGAIN_SECONDS = 0.1
_STOP_SECONDS = 5.0
# Given by the thread once it serves: what makes it end.
_Started = Future[Callable[[], object]]


class MetricsServer:
    """Serves /metrics, /health, /livez and /readyz. Order of calls: `bind`, `start`, `stop`.

    host: a name or address to listen on; "" for all interfaces, IPv4 and IPv6.
    port: 0 for any that is free; `self.port` tells which, after `bind`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        registry: CollectorRegistry,
        health: Probed,
        limits: Limits | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._service = _Service(Pages(registry), probes(health), limits or Limits())
        self._sockets: list[socket.socket] = []
        self._thread: threading.Thread | None = None
        self._end: Callable[[], object] | None = None

    def bind(self) -> None:
        """Take the port, here and now. Raises OSError where that can't be done."""
        self._sockets = listen(self.host, self.port)
        self.port = self._sockets[0].getsockname()[1]

    def start(self) -> None:
        """Serve, in a thread of its own; returns when it does.

        Raises RuntimeError before `bind`, and OSError where no descriptor is left, Shortage where
        no thread can be had.
        """
        if not self._sockets:
            raise RuntimeError("MetricsServer.start() was called before bind()")
        started: _Started = Future()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="metrics-server", daemon=True
        )
        start_thread(self._thread)
        self._end = started.result()

    def stop(self) -> None:
        """Serve no more, and give the port back. Idempotent."""
        if self._thread is not None and self._end is not None:
            self._end()
            self._thread.join(_STOP_SECONDS)
            self._thread = None
        for sock in self._sockets:
            sock.close()
        self._sockets = []

    def _run(self, started: _Started) -> None:
        leave_signals_to_the_main_thread()
        try:
            with asyncio.Runner(loop_factory=_new_loop) as runner:
                runner.run(self._serve(started))
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, started: _Started) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(_note)
        self._service.open(loop, self._sockets)
        started.set_result(partial(loop.call_soon_threadsafe, stopping.set))
        await stopping.wait()
        await self._service.close()


class _Service:
    """The connections, and what they share. Lives on the server's event loop."""

    def __init__(self, pages: Pages, probes: Mapping[str, Probe], limits: Limits) -> None:
        self.pages = pages
        self.probes = probes
        self.limits = limits
        self.buffer = read_buffer()
        # Each from the one that has been there for longest to the newest. Those that wait for an
        # answer or for their next turn are not to be driven out by those that only take up room.
        self._idlers: dict[Connection, None] = {}
        self._clients: dict[Connection, None] = {}
        self._setting_up: set[asyncio.Task[Any]] = set()
        self._sockets: list[socket.socket] = []

    def open(self, loop: asyncio.AbstractEventLoop, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        for sock in sockets:
            loop.add_reader(sock, self._accept, loop, sock)

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.remove_reader(sock)
        await asyncio.gather(*self._setting_up, return_exceptions=True)
        for connection in self.connections:
            connection.abort()
        await asyncio.sleep(0)  # lets them be lost, and their sockets be closed

    @property
    def connections(self) -> list[Connection]:
        """All that there are."""
        return [*self._idlers, *self._clients]

    def made(self, connection: Connection) -> None:
        """Count it in, and make room for it."""
        self._evict(len(self._idlers) + len(self._clients) + 1 - self.limits.connections)
        self._idlers[connection] = None

    def asked(self, connection: Connection) -> None:
        """It is the last of those with a purpose that makes room."""
        self._move(connection, self._clients)

    def stalled(self, connection: Connection) -> None:
        """It only takes up room until it has taken its answer."""
        self._move(connection, self._idlers)

    def lost(self, connection: Connection) -> None:
        """Forget it."""
        self._idlers.pop(connection, None)
        self._clients.pop(connection, None)

    def _move(self, connection: Connection, group: dict[Connection, None]) -> None:
        if connection in self._idlers or connection in self._clients:
            self.lost(connection)
            group[connection] = None

    def _accept(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        if self._setting_up:
            return  # First, those that were accepted before are heard.
        for _ in range(max(1, round(_ACCEPTS * self.limits.connections))):
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._survive(loop, listener, error)
                return
            self._set_up(loop, sock)

    def _survive(
        self, loop: asyncio.AbstractEventLoop, listener: socket.socket, error: OSError
    ) -> None:
        """No descriptor is left: end half of the connections, and go on in a moment.

        Going on at once would turn the loop as fast as it can, since the client is still there.
        """
        if error.errno in _NO_DESCRIPTOR_LEFT:
            self._evict(max(1, len(self.connections) // 2))
        loop.remove_reader(listener)
        loop.call_later(_ACCEPT_AGAIN_SECONDS, self._listen_again, loop, listener)

    def _listen_again(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            loop.add_reader(listener, self._accept, loop, listener)

    def _evict(self, count: int) -> None:
        for _ in range(count):
            crowded = len(self._idlers) > self.limits.connections // 2
            group = self._idlers if crowded or not self._clients else self._clients
            if not group:
                return
            connection = next(iter(group))
            self.lost(connection)
            connection.abort()

    def _set_up(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        sock.setblocking(False)
        task = loop.create_task(loop.connect_accepted_socket(partial(Connection, self), sock))
        self._setting_up.add(task)
        task.add_done_callback(self._setting_up.discard)


def _new_loop() -> asyncio.AbstractEventLoop:
    selector = selectors.DefaultSelector()
    forks.keep_loop(selector)
    return asyncio.SelectorEventLoop(selector)


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # noqa: ARG001
    """What asyncio can't deliver. At debug, or hostile clients could write the log full."""
    _log.debug("metrics_connection_failed: %s", context.get("exception") or context["message"])
