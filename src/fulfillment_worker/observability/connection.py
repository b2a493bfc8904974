"""One client's connection to the metrics port: HTTP/1.1 as h11 reads it, under deadlines.

    idle ──first byte──▶ reading ──complete head──▶ answering ──sent──▶ idle, or parting ──▶ gone

Nothing that a client does or leaves undone keeps a connection beyond its deadline, and none
holds more in memory than one read, one head and one page.
"""

from __future__ import annotations

import asyncio
import re
import resource
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol, cast

import h11
import msgspec

from fulfillment_worker.observability.pages import Page, PageRequest, Pages, page_request
from fulfillment_worker.observability.routes import METHODS, METRICS_PATH, Probe, text

_READ_BYTES = 4096
# For how long a client that was told that the connection ends may go on sending. Closing at once
# would reset the connection, and the answer could be lost (RFC 9112, section 9.6).
_PARTING_SECONDS = 1.0


_ORIGIN = re.compile(r"\Ahttps?://[^/?#]+", re.IGNORECASE)


def _header(request: h11.Request, wanted: bytes) -> str:
    """A header that is a list, from all its lines (RFC 9110, 5.3)."""
    return b",".join(value for name, value in request.headers if name == wanted).decode("latin-1")


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(soft, 32)


class Limits(msgspec.Struct, frozen=True):
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


class Owner(Protocol):
    """What a connection needs of its server. buffer: one for all, since each read is used up."""

    limits: Limits
    pages: Pages
    probes: Mapping[str, Probe]
    buffer: bytearray

    def made(self, connection: Connection) -> None:
        """The connection stands, and can be aborted."""
        ...

    def asked(self, connection: Connection) -> None:
        """The connection completed a request, or took the answer."""
        ...

    def stalled(self, connection: Connection) -> None:
        """The connection doesn't take its answer, at least not at once, or asks for much more."""
        ...

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""
        ...


def read_buffer() -> bytearray:
    """A buffer for all connections of one event loop."""
    return bytearray(_READ_BYTES)


class Connection(asyncio.BufferedProtocol):
    """Answers one request after the other. Lives on the server's own event loop."""

    _transport: asyncio.Transport

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=owner.limits.head)
        self._deadline: asyncio.TimerHandle | None = None
        self._idle = False
        self._answering = False
        self._sending = False
        self._deaf = False  # parting, or gone: whatever arrives is thrown away
        self._head_only = False
        self._asked: PageRequest | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection stands."""
        self._transport = cast(asyncio.Transport, transport)
        # With a mark of 0 asyncio tells when the last byte has been handed to the kernel.
        self._transport.set_write_buffer_limits(high=0)
        self._allow(self._owner.limits.request)
        self._owner.made(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever it was
        """asyncio: the connection is gone."""
        self._deaf = True
        if self._deadline is not None:
            self._deadline.cancel()
        if self._asked is not None:
            self._owner.pages.withdraw(self._asked, self._deliver)
        self._owner.lost(self)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - it is as large as it is
        """asyncio: where to read to."""
        return self._owner.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """asyncio: so many bytes were read."""
        if self._deaf:
            return
        if self._idle:
            self._idle = False
            self._allow(self._owner.limits.request)
        self._http.receive_data(bytes(self._owner.buffer[:nbytes]))
        self._advance()

    def pause_writing(self) -> None:
        """asyncio: the client doesn't take the answer as fast as it is written."""
        self._sending = True
        self._owner.stalled(self)

    def resume_writing(self) -> None:
        """asyncio: the whole answer was handed to the kernel."""
        self._sending = False
        self._sent()

    def abort(self) -> None:
        """End the connection at once. Idempotent."""
        self._transport.abort()

    def _allow(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.abort)

    def _advance(self) -> None:
        """Answer the next request, if all of its head has arrived."""
        if self._deaf:
            return
        try:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                # Without a body its end follows at once. A body isn't read, the connection ends.
                bodiless = isinstance(self._http.next_event(), h11.EndOfMessage)
                self._answer(event, last=not bodiless)
            elif isinstance(event, h11.ConnectionClosed):
                self.abort()
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
            self._reply(text(status, status.phrase), last=True)

    def _answer(self, request: h11.Request, *, last: bool) -> None:
        self._answering = True
        # Prometheus asks for one page at a time.
        (self._owner.stalled if self._http.trailing_data[0] else self._owner.asked)(self)
        self._head_only = request.method == b"HEAD"
        # A proxy may ask with the whole URL (RFC 9112, 3.2.2).
        target = _ORIGIN.sub("", request.target.decode("ascii", "replace"))
        path, _, query = target.partition("?")
        probe = self._owner.probes.get(path)
        if probe is None and path != METRICS_PATH:
            self._reply(text(404, "there is no such page"), last=last)
        elif request.method.decode("ascii", "replace") not in METHODS:
            allow = ", ".join(METHODS)
            self._reply(text(405, f"use {allow}", ("Allow", allow)), last=last)
        elif last or probe is not None:
            self._reply(probe() if probe else text(413, "send no body"), last=last)
        else:
            self._ask(query, request)
        if self._answering:
            # What is pipelined waits in the kernel, where it costs the worker no memory.
            self._transport.pause_reading()

    def _ask(self, query: str, request: h11.Request) -> None:
        self._asked = page_request(
            query, _header(request, b"accept"), _header(request, b"accept-encoding")
        )
        self._owner.pages.ask(self._asked, self._deliver)

    def _deliver(self, page: Page) -> None:
        self._asked = None
        self._reply(page, last=False)

    def _reply(self, page: Page, *, last: bool) -> None:
        """Write an answer. last: the connection ends with it."""
        self._answering = True
        closing = (("Connection", "close"),) if last else ()
        length = ("Content-Length", str(len(page.body)))
        reason = HTTPStatus(page.status).phrase
        response = h11.Response(
            status_code=page.status, reason=reason, headers=[*page.headers, length, *closing]
        )
        body = [] if self._head_only else [h11.Data(data=page.body)]
        events = (response, *body, h11.EndOfMessage())
        self._transport.write(b"".join(self._http.send(event) or b"" for event in events))
        if not self._sending:
            self._sent()

    def _sent(self) -> None:
        self._answering = self._head_only = False
        self._owner.asked(self)
        self._transport.resume_reading()
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            self._part()
            return
        self._http.start_next_cycle()
        pipelined, _ = self._http.trailing_data
        self._idle = not pipelined
        self._allow(self._owner.limits.idle if self._idle else self._owner.limits.request)
        if pipelined:
            # Not at once: other clients have their turn in between.
            asyncio.get_running_loop().call_soon(self._advance)

    def _part(self) -> None:
        self._deaf = True
        self._allow(_PARTING_SECONDS)
        try:
            self._transport.write_eof()
        except OSError:  # the client has already gone
            self.abort()
