"""What is told of spans on their way out, and how OpenTelemetry's variables are understood."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from fulfillment_worker.config.opentelemetry import wants_traces
from fulfillment_worker.config.settings import load
from fulfillment_worker.core.events import CollectorLost, CollectorRegained, Event, SpansExported
from fulfillment_worker.tracing.export import SpansEnded, ToldExporter

_LOG = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")


class Scripted(SpanExporter):
    """Ends each export as it is told."""

    def __init__(self) -> None:
        self.next: SpanExportResult | Exception = SpanExportResult.SUCCESS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if isinstance(self.next, Exception):
            raise self.next
        if self.next is SpanExportResult.FAILURE:
            _LOG.warning("Transient error %s encountered", "connection refused")
            _LOG.error("Failed to export for another reason")
        return self.next


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


def test_an_outage_of_the_collector_is_told_once_and_its_end_too(
    told: list[Event], scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    ended = SpansEnded()
    exporter = ToldExporter(scripted, ended, told.append, iter([10.0, 12.5]).__next__)
    exporter.export([])
    assert told.pop() == SpansExported(0, 0, 0)
    scripted.next = SpanExportResult.FAILURE
    for _ in range(3):
        exporter.export([])
    changes = [event for event in told if not isinstance(event, SpansExported)]
    assert changes == [CollectorLost("Transient error connection refused encountered")]
    scripted.next = SpanExportResult.SUCCESS
    exporter.export([])
    assert told[-1] == CollectorRegained(2.5)
    assert caplog.records == []
    exporter.shutdown()
    _LOG.warning("heard again")
    assert [record.message for record in caplog.records] == ["heard again"]


def test_an_exporter_that_raises_is_an_outage(told: list[Event], scripted: Scripted) -> None:
    exporter = ToldExporter(scripted, SpansEnded(), told.append)
    scripted.next = ValueError("no such host")
    assert exporter.export([]) is SpanExportResult.FAILURE
    assert told[-1] == CollectorLost("ValueError: no such host")
    exporter.shutdown()


def test_spans_are_counted(told: list[Event], scripted: Scripted) -> None:
    ended = SpansEnded()
    exporter = ToldExporter(scripted, ended, told.append)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(ended)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    tracer.start_span("s").end()
    scripted.next = SpanExportResult.FAILURE
    tracer.start_span("s").end()
    counts = [event for event in told if isinstance(event, SpansExported)]
    assert counts == [SpansExported(1, 1, 0), SpansExported(1, 0, 1)]
    provider.shutdown()


_PLACE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        (_PLACE, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console,otlp"}, True),
        (_PLACE | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (_PLACE | {"OTEL_SDK_DISABLED": "True"}, False),
        (_PLACE | {"OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_whether_the_environment_asks_for_traces(environ: dict[str, str], wanted: bool) -> None:
    assert wants_traces(environ) is wanted
    assert load({}, environ).traces == ("wanted" if wanted else "auto")
    assert load({"traces": "off"}, environ).traces == "off"
    assert load({"traces": "otlp"}, environ).traces == "otlp"
