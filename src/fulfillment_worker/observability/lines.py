"""How a log record becomes a line: as JSON, or for a person on a terminal.

Whatever a producer or an exception puts into a text, it can neither forge a line nor steer a
terminal, and what looks like a credential is blotted out.
"""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime

from fulfillment_worker.core.redaction import redact, redacted
from fulfillment_worker.core.text import visible
from fulfillment_worker.observability.records import LONGEST_VALUE, OwnRecord, fields_of

_LONGEST_TRACEBACK = 20_000
_COLOURS = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
}
_RESET, _DIM, _BOLD, _CYAN = "\x1b[0m", "\x1b[2m", "\x1b[1m", "\x1b[36m"


def level_name(number: int) -> str:
    """The name of a level of `logging`; one between two levels counts as the lower."""
    if number >= logging.CRITICAL:
        return "critical"
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"


class LineFormatter(logging.Formatter, ABC):
    """Makes a line of a record. `format` is what `logging` calls."""

    @abstractmethod
    def line(self, record: logging.LogRecord, added: Mapping[str, object]) -> str:
        """The record's line, without its end. added: further fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The same, without further fields."""
        return self.line(record, {})


class JsonFormatter(LineFormatter):
    """One JSON object a line, in ASCII, with `timestamp` (RFC 3339, UTC), `level`, `event`."""

    def line(self, record: logging.LogRecord, added: Mapping[str, object]) -> str:
        """See LineFormatter. A field that has the name of one of ours is put beside it."""
        line: dict[str, object] = {
            "timestamp": _time(record).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": level_name(record.levelno),
            "event": _message(record),
            "logger": record.name,
        }
        traceback = _traceback(self, record)
        if traceback:
            line["exception"] = traceback
        for name, value in fields_of(record, added).items():
            line.setdefault(f"extra_{name}" if name in line else name, value)
        return json.dumps(line)


class ConsoleFormatter(LineFormatter):
    """`15:04:05.678 warning  order_retried  order_id=A-1 …`, in colour where wanted."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def line(self, record: logging.LogRecord, added: Mapping[str, object]) -> str:
        """See LineFormatter; with a traceback, lines."""
        level = level_name(record.levelno)
        moment = _time(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        parts = [
            self._paint(_DIM, moment),
            self._paint(_COLOURS[level], f"{level:<8}"),
            self._paint(_BOLD, visible(_message(record))),
            *(self._field(name, value) for name, value in fields_of(record, added).items()),
        ]
        traceback = _traceback(self, record).splitlines()
        return "\n".join([" ".join(parts), *(visible(line) for line in traceback)])

    def _field(self, name: str, value: object) -> str:
        return f"{self._paint(_CYAN, visible(name))}={_quoted(value)}"

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colours else text


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that don't fit, or can't be printed
        message = _template(record)
    return redacted(message, LONGEST_VALUE)


def _template(record: logging.LogRecord) -> str:
    try:
        return str(record.msg)
    except Exception:  # noqa: BLE001 - a message can be any object
        return "(a message that could not be read)"


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if isinstance(record, OwnRecord):
        return redact(record.exc_text or "")
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    try:
        text = redact(formatter.formatException(record.exc_info))
    except Exception:  # noqa: BLE001 - an exception is a stranger's code, too
        return "(a traceback that could not be read)"
    # The end names the exception: that is what must not be lost.
    return text if len(text) <= _LONGEST_TRACEBACK else f"…{text[-_LONGEST_TRACEBACK:]}"


def _quoted(value: object) -> str:
    text = str(value)
    if text and text.isprintable() and not any(sign in text for sign in " \"'="):
        return text
    return repr(text)
