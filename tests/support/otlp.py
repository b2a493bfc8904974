"""A collector of traces on the loopback: OTLP over HTTP, as OpenTelemetry's own has it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

_KINDS = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
_STATUSES = {0: "UNSET", 1: "OK", 2: "ERROR"}


class Received(NamedTuple):
    """A span, as it came over the wire. Ids are in hex; parent_id is "" for a root."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    links: list[tuple[str, str]]
    status: str
    said: str
    attributes: dict[str, Any]
    events: dict[str, dict[str, Any]]
    resource: dict[str, Any]
    trace_state: str
    seconds: float


class Collector:
    """Listens on `url`. answer: the status of its answers; None: it never answers."""

    def __init__(self) -> None:
        self.answer: int | None = 200
        self.requests = 0
        self._spans: list[Received] = []
        self._gone = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def spans(self) -> list[Received]:
        """All spans so far."""
        return list(self._spans)

    def of(self, order_id: str) -> list[Received]:
        """The spans of the attempts at an order, so far."""
        return [s for s in self.spans if s.attributes.get("messaging.message.id") == order_id]

    def close(self) -> None:
        """Be gone: connections are refused from here on."""
        self._gone.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                collector.requests += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if collector.answer is None:
                    collector._gone.wait(60)
                    return
                if collector.answer == 200:
                    if self.headers.get("Content-Encoding") == "gzip":
                        body = gzip.decompress(body)
                    collector._spans += _read(self.path, body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(collector.answer)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                pass

        return Handler


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector, until the end of the block."""
    collector = Collector()
    try:
        yield collector
    finally:
        collector.close()


def _read(path: str, body: bytes) -> list[Received]:
    assert path == "/v1/traces", path
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    return [
        _span(span, _attributes(group.resource.attributes))
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _span(span: Any, resource: dict[str, Any]) -> Received:
    return Received(
        name=span.name,
        kind=_KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        status=_STATUSES[span.status.code],
        said=span.status.message,
        attributes=_attributes(span.attributes),
        events={event.name: _attributes(event.attributes) for event in span.events},
        resource=resource,
        trace_state=span.trace_state,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
