"""Sets OpenTelemetry up, as its environment variables say, and takes it down within its time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module

from opentelemetry import trace
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
)
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import ProxyTracerProvider

from fulfillment_worker.core.events import Event
from fulfillment_worker.core.shortage import Shortage
from fulfillment_worker.system.threads import start_thread
from fulfillment_worker.tracing.export import SpansEnded, ToldExporter
from fulfillment_worker.tracing.traced_handler import TracedHandler, _LoadedHandler

_SERVICE = "fulfillment-worker"
_UNNAMED = "unknown_service"
_FLUSH, _FLUSH_INTO_THE_VOID = 2.0, 0.2
"""Seconds that the end of the process may wait for the last spans to be sent; and that it waits
where the collector was away at last."""


class Tracing:
    """Traces of this process, from its construction to `stop`.

    Where the shop's own code (or `opentelemetry-instrument`) has set a provider up, that one is
    used; else one is made for all of the process, so that spans that the handler makes go along.
    """

    def __init__(self, version: str, tell: Callable[[Event], None]) -> None:
        self._version = version
        self.endpoint = "the provider of the handler's own code"
        self._exporter: ToldExporter | None = None
        self._handlers: list[TracedHandler] = []
        given = trace.get_tracer_provider()
        self._provider = given if not isinstance(given, ProxyTracerProvider) else self._make(tell)

    def wrap(
        self,
        handler: _LoadedHandler,
        *,
        server: Mapping[str, str | int],
        on_fault: Callable[[], None],
    ) -> TracedHandler:
        """The handler with a span around each call. server: attributes that name Redis."""
        traced = TracedHandler(
            handler,
            self._provider.get_tracer(_SERVICE, self._version),
            always={
                "messaging.system": "redis",
                "messaging.operation.type": "process",
                "messaging.operation.name": "process",
                **server,
            },
            on_fault=on_fault,
        )
        self._handlers.append(traced)
        return traced

    def stop(self) -> None:
        """Send what is left, in 2 s or less. Whatever isn't sent by then is gone."""
        for handler in self._handlers:
            handler.stop()
        away = self._exporter is not None and self._exporter.lost
        # A thread that doesn't keep the process: a collector that is silent has 10 s an export.
        last = threading.Thread(target=self._flush, name="last-spans", daemon=True)
        with suppress(Shortage):
            start_thread(last)
            last.join(_FLUSH_INTO_THE_VOID if away else _FLUSH)

    @staticmethod
    def log_fields() -> dict[str, object]:
        """What a log line says of the span in which it is logged; nothing outside of one."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid or not context.trace_flags.sampled:
            return {}
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}

    def _flush(self) -> None:
        if self._exporter is not None and isinstance(self._provider, TracerProvider):
            self._provider.shutdown()
        elif isinstance(self._provider, TracerProvider):
            self._provider.force_flush()

    def _make(self, tell: Callable[[Event], None]) -> TracerProvider:
        ended = SpansEnded()
        exporter = _exporter()
        self.endpoint = str(getattr(exporter, "_endpoint", ""))
        self._exporter = ToldExporter(exporter, ended, tell)
        # Not at exit: that would wait up to 30 s for a collector that is away.
        provider = TracerProvider(resource=self._resource(), shutdown_on_exit=False)
        provider.add_span_processor(ended)
        provider.add_span_processor(BatchSpanProcessor(self._exporter))
        trace.set_tracer_provider(provider)
        return provider

    def _resource(self) -> Resource:
        """As the environment says (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES), and completed."""
        found = Resource.create()
        ours = {SERVICE_VERSION: self._version}
        name = str(found.attributes.get(SERVICE_NAME, _UNNAMED))
        if name.startswith(_UNNAMED):
            return found.merge(Resource({SERVICE_NAME: _SERVICE, **ours}))
        return Resource(ours).merge(found)


def _exporter() -> SpanExporter:
    """By the protocol that the environment names. Raises ModuleNotFoundError."""
    named = (OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, OTEL_EXPORTER_OTLP_PROTOCOL)
    protocol = next(filter(None, (os.environ.get(name, "").strip() for name in named)), "")
    transport = "grpc" if protocol == "grpc" else "http"
    module = import_module(f"opentelemetry.exporter.otlp.proto.{transport}.trace_exporter")
    exporter: SpanExporter = module.OTLPSpanExporter()
    return exporter
