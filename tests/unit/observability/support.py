"""What the tests of observability share."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition

from fulfillment_worker.core.events import AttemptEnded, OrdersFulfilled
from fulfillment_worker.core.exchange import Survey
from fulfillment_worker.core.outcome import DeadReason, FailureReason
from fulfillment_worker.observability.health import Health
from fulfillment_worker.observability.metrics import Metrics
from fulfillment_worker.observability.server import MetricsServer, ServerLimits


def new_metrics(*queues: str, clock: Callable[[], float] = lambda: 1000.0) -> Metrics:
    return Metrics(queues or ("orders",), 50, "1.2.3", "abc123", clock=clock)


def page(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def openmetrics(metrics: Metrics) -> str:
    rendered: bytes = exposition.generate_latest(metrics.registry)  # type: ignore[no-untyped-call]
    return rendered.decode()


def series(metrics: Metrics) -> set[str]:
    """Every series of the page, without its value."""
    lines = page(metrics).splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(name, labels)
    assert found is not None, f"no series {name}{labels}"
    return found


def attempt(
    *,
    duration: float = 0.02,
    reason: FailureReason | None = None,
    error: str = "",
    end_to_end: float | None = None,
    retry_in: float | None = None,
    dead: DeadReason | None = None,
    trace_id: str | None = None,
    order_id: str = "A-1",
) -> AttemptEnded | OrdersFulfilled:
    ended = AttemptEnded(
        queue="orders",
        worker="host-1",
        order_id=order_id,
        delivery=7,
        attempt=2,
        duration=duration,
        reason=reason,
        error=error,
        end_to_end=end_to_end,
        retry_in=retry_in,
        dead=dead,
        trace_id=trace_id,
    )
    return OrdersFulfilled("orders", "host-1", [ended]) if reason is None else ended


def survey(**given: Any) -> Survey:
    fields = {
        "at": 2_000_000,
        "waiting": 0,
        "in_flight": 0,
        "retrying": 0,
        "dead": 0,
        "oldest": 2_000_000,
        "received": 0,
        "fulfilled": 0,
        "duplicates": 0,
        "dropped": 0,
    }
    return Survey(**(fields | given))


@contextmanager
def serving(
    registry: CollectorRegistry | None = None,
    health: Health | None = None,
    limits: ServerLimits | None = None,
) -> Iterator[MetricsServer]:
    """A server on a free port of the loopback."""
    server = MetricsServer(
        "127.0.0.1",
        0,
        registry=registry or new_metrics().registry,
        health=health or Health(stuck_after=5),
        limits=limits,
    )
    server.bind()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def fetch(
    server: MetricsServer,
    path: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One request on a connection of its own."""
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        client.request(method, path, body=body, headers=headers or {})
        response = client.getresponse()
        return response.status, response.msg, response.read()
    finally:
        client.close()


def connect(server: MetricsServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=120)


def read_to_end(client: socket.socket) -> bytes:
    """All that comes until the server closes; a reset counts as a close."""
    received = b""
    try:
        while chunk := client.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received
