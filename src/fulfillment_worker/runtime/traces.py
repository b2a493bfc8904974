"""Traces around a worker's life, where the settings and the environment ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import INFO, WARNING
from typing import TYPE_CHECKING

from fulfillment_worker.config.redis_url import RedisUrl, Scheme
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.redaction import redact
from fulfillment_worker.handlers.handler import LoadedHandler
from fulfillment_worker.observability.logs import LogHandler, log
from fulfillment_worker.runtime.version import version
from fulfillment_worker.runtime.watch import Watch

if TYPE_CHECKING:
    from fulfillment_worker.tracing.start import Tracing

_NEEDS = "traces need more packages: pip install 'fulfillment-worker[otel]'"
_NEEDS_GRPC = (
    "OTEL_EXPORTER_OTLP_PROTOCOL is grpc, which needs one more package: pip install "
    "opentelemetry-exporter-otlp-proto-grpc, or set it to http/protobuf and the port to 4318"
)


class TracesUnavailable(Exception):
    """Traces were demanded and can't be had. The message is one line for people."""


@contextmanager
def traced(
    settings: Settings, handler: LoadedHandler, watch: Watch, log_to: LogHandler
) -> Iterator[LoadedHandler]:
    """The handler, with a span around each call where traces are on; sends the last at the end.

    Raises TracesUnavailable where the setting demands them, and they can't be had.
    """
    tracing = _start(settings, watch) if settings.traces in ("otlp", "wanted") else None
    if tracing is None:
        yield handler
        return
    log_to.add_fields(tracing.log_fields)
    try:
        yield tracing.wrap(
            handler,
            server=server_attributes(settings.redis_url),
            on_fault=watch.metrics.faulted,
        )
    finally:
        tracing.stop()


def _start(settings: Settings, watch: Watch) -> Tracing | None:
    try:
        # Here and not above: an extra, and slow to import.
        from fulfillment_worker.tracing.start import Tracing  # noqa: PLC0415

        tracing = Tracing(version(), watch.tell)
    except Exception as error:
        # Also what the SDK raises for a variable that it can't read.
        why = _why(error)
        if settings.traces == "otlp":
            raise TracesUnavailable(f"--traces is otlp: {why}") from error
        log(WARNING, "traces_unavailable", error=why, next="orders run without spans")
        return None
    log(INFO, "traces_started", endpoint=redact(tracing.endpoint))
    return tracing


def _why(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return _NEEDS_GRPC if "grpc" in (error.name or "") else _NEEDS
    return f"{type(error).__name__}: {error}"


def server_attributes(url: RedisUrl) -> dict[str, str | int]:
    """Which Redis, by the names of OpenTelemetry; nothing where there are several."""
    if url.scheme is Scheme.UNIX:
        return {"server.address": url.path}
    if url.scheme not in (Scheme.TCP, Scheme.TLS):
        return {}
    ((host, port),) = url.hosts
    return {"server.address": host, "server.port": port}
