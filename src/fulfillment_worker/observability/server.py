"""The metrics port: served from a thread of its own, so that no handler can stop a scrape.

A connection is one coroutine: it reads a request, answers it, and waits for the next one, each
under a time limit. It reads from the socket itself and no more than it needs: what a client sends
ahead waits in the kernel, so a connection holds at most one read, one head and one page.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import selectors
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import h11
import msgspec
from prometheus_client import CollectorRegistry

from fulfillment_worker.observability.health import Probed
from fulfillment_worker.observability.listening import listen
from fulfillment_worker.observability.metric_pages import Page, PageRequest, Pages
from fulfillment_worker.observability.routes import Probe, answer, probes, text
from fulfillment_worker.system import forks
from fulfillment_worker.system.signals import leave_signals_to_the_main_thread
from fulfillment_worker.system.threads import start_thread

_log = logging.getLogger(__name__)
_READ_BYTES = 4096
# How long a client may go on sending after the last answer. Closing at once would reset the
# connection, and the answer could be lost (RFC 9112, section 9.6).
_PARTING_SECONDS = 1.0
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_ACCEPT_AGAIN_SECONDS = 0.1
_STOP_SECONDS = 5.0
# Set by the thread once it serves: what makes it end.
_Started = Future[Callable[[], object]]


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(soft, 32)


class ServerLimits(msgspec.Struct, frozen=True):
    """What clients may take.

    request: seconds from a new connection, or a request's first byte, to the answer's last.
    idle: seconds that a connection may wait for its next request.
    head: bytes of a request's head; one read more may slip through.
    connections: at the same time; one more ends another, first of all one that asks for nothing or
    doesn't take its answer. At most a third of the descriptors that the process may have: the
    rest are the handlers'.
    """

    request: float = 5.0
    idle: float = 120.0
    head: int = 16 * 1024
    connections: int = msgspec.field(default_factory=lambda: min(2048, _descriptors() // 3))


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
        limits: ServerLimits | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._connections = _Connections(Pages(registry), probes(health), limits or ServerLimits())
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
            # At its end the runner cancels what accepts, and every connection.
            with asyncio.Runner(loop_factory=_new_loop) as runner:
                runner.run(self._serve(started))
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, started: _Started) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(_note)
        accepting = [loop.create_task(self._connections.accept(sock)) for sock in self._sockets]
        started.set_result(partial(loop.call_soon_threadsafe, stopping.set))
        await stopping.wait()
        del accepting  # asyncio itself keeps no task alive


class _Connections:
    """The open connections, each a task. Lives on the server's event loop."""

    def __init__(self, pages: Pages, probes: Mapping[str, Probe], limits: ServerLimits) -> None:
        self._pages = pages
        self._probes = probes
        self._limits = limits
        # Each from the one that has been idle longest to the newest. Clients that wait for an
        # answer or for their next turn are not closed for the sake of idlers: those that have
        # asked for nothing, or don't take their answer.
        self._idlers: dict[asyncio.Task[None], None] = {}
        self._clients: dict[asyncio.Task[None], None] = {}

    async def accept(self, listener: socket.socket) -> None:
        """Serve each client that connects to `listener`."""
        forks.keep(listener)
        loop = asyncio.get_running_loop()
        at_once = max(1, self._limits.connections // 8)
        while True:
            try:
                for _ in range(at_once):
                    sock, _ = await loop.sock_accept(listener)
                    self._admit(sock)
                await asyncio.sleep(0)  # their requests are read before the next are accepted
            except (OSError, MemoryError) as error:
                if getattr(error, "errno", errno.ENOMEM) in _SHORTAGES:
                    self._keep((len(self._idlers) + len(self._clients)) // 2)
                # The client is still there: at once, it would fail as fast as the loop can turn.
                await asyncio.sleep(_ACCEPT_AGAIN_SECONDS)

    def _admit(self, sock: socket.socket) -> None:
        forks.keep(sock)
        self._keep(self._limits.connections - 1)
        task = asyncio.get_running_loop().create_task(self._serve(sock))
        task.add_done_callback(partial(self._ended, sock))
        self._idlers[task] = None

    def _keep(self, most: int) -> None:
        """Close those that have been idle longest, until so many are left."""
        while len(self._idlers) + len(self._clients) > most:
            crowded = len(self._idlers) > self._limits.connections // 2
            group = self._idlers if crowded or not self._clients else self._clients
            task = next(iter(group))
            del group[task]
            task.cancel()

    def _move_to(self, group: dict[asyncio.Task[None], None]) -> None:
        """The current connection becomes the newest of the group."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._idlers.pop(task, None)
        self._clients.pop(task, None)
        group[task] = None

    def _ended(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._idlers.pop(task, None)
        self._clients.pop(task, None)
        sock.close()

    async def _serve(self, sock: socket.socket) -> None:
        """Answer one request after the other, until the client or a limit ends it."""
        loop = asyncio.get_running_loop()
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head)
        with suppress(OSError):  # a TimeoutError is one
            while True:
                async with asyncio.timeout(self._limits.request):
                    if not await self._answer_next(sock, http):
                        return
                if not http.our_state is http.their_state is h11.DONE:
                    break
                http.start_next_cycle()
                await asyncio.sleep(0)  # others have their turn before what is pipelined
                if not http.trailing_data[0]:
                    async with asyncio.timeout(self._limits.idle):
                        http.receive_data(await loop.sock_recv(sock, _READ_BYTES))
            await _part(sock)

    async def _answer_next(self, sock: socket.socket, http: h11.Connection) -> bool:
        """Read a request and answer it; False where the client leaves before it is complete."""
        loop, head_only = asyncio.get_running_loop(), False
        try:
            while (request := http.next_event()) is h11.NEED_DATA:
                http.receive_data(await loop.sock_recv(sock, _READ_BYTES))
                if http.trailing_data[1]:  # nothing will follow
                    return False
            if not isinstance(request, h11.Request):
                return False
            head_only = request.method == b"HEAD"
            # Without a body its end follows at once. A body isn't read, the connection ends.
            bodiless = isinstance(http.next_event(), h11.EndOfMessage)
            page = answer(request, self._probes, bodiless=bodiless)
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
            page, bodiless = text(status, status.phrase), False
        # Prometheus asks for one page at a time.
        group = self._idlers if http.trailing_data[0] else self._clients
        if isinstance(page, PageRequest):
            self._move_to(group)
            page = await self._pages.get(page)
        self._move_to(self._idlers)  # until it has taken its answer
        await _send(sock, http, page, head_only=head_only, last=not bodiless)
        self._move_to(group)
        return True


async def _send(
    sock: socket.socket, http: h11.Connection, page: Page, *, head_only: bool, last: bool
) -> None:
    """Send the answer. last: the connection ends with it."""
    loop = asyncio.get_running_loop()
    closing = (("Connection", "close"),) if last else ()
    headers = [*page.headers, ("Content-Length", str(len(page.body))), *closing]
    reason = HTTPStatus(page.status).phrase
    head = http.send(h11.Response(status_code=page.status, reason=reason, headers=headers)) or b""
    body = b"" if head_only else http.send(h11.Data(data=page.body)) or b""
    http.send(h11.EndOfMessage())
    sent = 0
    with suppress(BlockingIOError):
        sent = sock.sendmsg((head, body))
    if sent < len(head) + len(body):
        # Not joined: all clients that wait for the same page share its bytes.
        await loop.sock_sendall(sock, head[sent:])
        await loop.sock_sendall(sock, memoryview(body)[max(0, sent - len(head)) :])


async def _part(sock: socket.socket) -> None:
    """Say that nothing follows, and read until the client has heard it."""
    loop = asyncio.get_running_loop()
    sock.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(_PARTING_SECONDS):
        while await loop.sock_recv(sock, _READ_BYTES):  # noqa: ASYNC110 - no event, but other clients
            await asyncio.sleep(0)


def _new_loop() -> asyncio.AbstractEventLoop:
    selector = selectors.DefaultSelector()
    forks.keep_loop(selector)
    return asyncio.SelectorEventLoop(selector)


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # noqa: ARG001
    """What asyncio can't deliver. At debug, or hostile clients could write the log full."""
    _log.debug("metrics_connection_failed: %s", context.get("exception") or context["message"])
