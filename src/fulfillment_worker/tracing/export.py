"""What happens to spans on their way out: counted, told when the collector is away, and quiet."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from fulfillment_worker.core.events import CollectorLost, CollectorRegained, Event, SpansExported

# They log each attempt at a collector that is away, and each span that finds the queue full.
_TALKATIVE = (
    "opentelemetry.exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.trace.export",
)


class SpansEnded(SpanProcessor):
    """Counts sampled spans that ended, in whichever thread they did; a race loses a count."""

    def __init__(self) -> None:
        self.count = 0

    def on_end(self, span: ReadableSpan) -> None:
        """See SpanProcessor."""
        if span.context is not None and span.context.trace_flags.sampled:
            self.count += 1


class ToldExporter(SpanExporter):
    """Exports by another exporter, in the batch processor's thread, and tells how it went.

    tell: may be called from that thread, and must not raise.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        ended: SpansEnded,
        tell: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exporter = exporter
        self._ended = ended
        self._tell = tell
        self._clock = clock
        self._told_ended = 0
        self._lost_since: float | None = None
        self._heard = _Overheard()

    @property
    def lost(self) -> bool:
        """Whether the last export failed."""
        return self._lost_since is not None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See SpanExporter."""
        self._heard.first = ""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - the processor would log its whole traceback
            result = SpanExportResult.FAILURE
            self._heard.first = f"{type(error).__name__}: {error}"
        self._count(len(spans), result is SpanExportResult.SUCCESS)
        self._turn(result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        """See SpanExporter."""
        self._exporter.shutdown()
        self._heard.stop()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See SpanExporter."""
        return self._exporter.force_flush(timeout_millis)

    def _count(self, many: int, ok: bool) -> None:
        ended = self._ended.count
        newly, self._told_ended = ended - self._told_ended, ended
        self._tell(SpansExported(newly, many if ok else 0, 0 if ok else many))

    def _turn(self, ok: bool) -> None:
        if not ok and self._lost_since is None:
            self._lost_since = self._clock()
            self._tell(CollectorLost(self._heard.first or "it refused the spans"))
        elif ok and self._lost_since is not None:
            away, self._lost_since = self._clock() - self._lost_since, None
            self._tell(CollectorRegained(away))


class _Overheard(logging.Handler):
    """Takes what the talkative loggers say, and keeps the first of it: that names the cause."""

    def __init__(self, loggers: Iterable[str] = _TALKATIVE) -> None:
        super().__init__(logging.WARNING)
        self.first = ""
        self._loggers = [logging.getLogger(name) for name in loggers]
        for logger in self._loggers:
            logger.addHandler(self)
            logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """See LoadedHandler."""
        self.first = self.first or record.getMessage()

    def stop(self) -> None:
        """Let them say what they like again."""
        for logger in self._loggers:
            logger.removeHandler(self)
            logger.propagate = True
