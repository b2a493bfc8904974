"""How a log record becomes a line: as JSON, or for a person on a terminal.

Whatever a producer or an exception puts into a text, it can neither forge a line nor steer a
terminal, and what looks like a credential is blotted out.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from math import isfinite

_LONGEST_VALUE = 2_000
_LONGEST_TRACEBACK = 20_000
# userinfo of a URL; a parameter, or a key of JSON or of a dict, whose name says that its value is
# secret; and the token of an Authorization header.
_USERINFO = re.compile(r"(?<=://)[^/\s]*@")
_SECRET_NAME = r"[\w-]*(?:password|passwd|secret|token|api[_-]?key|authorization)"
_SECRET = re.compile(rf"(?i)\b({_SECRET_NAME})=[^&\s'\"]+")
_SECRET_KEY = re.compile(rf"(?i)((['\"]){_SECRET_NAME}\2\s*:\s*)(['\"]).*?\3")
_BEARER = re.compile(r"(?i)\bbearer\s+(?=\S*\d)[\w\-.=+/~]{12,}")
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


def redact(text: str) -> str:
    """The text without what looks like credentials."""
    if "://" in text:
        text = _USERINFO.sub("***@", text)
    if "=" in text:
        text = _SECRET.sub(r"\1=***", text)
    if ":" in text:
        text = _SECRET_KEY.sub(r"\1\3***\3", text)
    return _BEARER.sub("Bearer ***", text) if "earer " in text else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII, with `timestamp` (RFC 3339, UTC), `level`, `event`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, without its end."""
        line: dict[str, object] = {
            "timestamp": _time(record).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": level_name(record.levelno),
            "event": _message(record),
            "logger": record.name,
        }
        for name, value in _fields(record).items():
            line.setdefault(name, value)
        traceback = _traceback(self, record)
        if traceback:
            line["exception"] = traceback
        return json.dumps(line)


class ConsoleFormatter(logging.Formatter):
    """`15:04:05.678 warning  order_retried  order_id=A-1 …`, in colour where wanted."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """The record's line or, with a traceback, lines, without the last one's end."""
        level = level_name(record.levelno)
        moment = _time(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        parts = [
            self._paint(_DIM, moment),
            self._paint(_COLOURS[level], f"{level:<8}"),
            self._paint(_BOLD, _visible(_message(record))),
            *(self._field(name, value) for name, value in _fields(record).items()),
        ]
        traceback = _traceback(self, record).splitlines()
        return "\n".join([" ".join(parts), *(_visible(line) for line in traceback)])

    def _field(self, name: str, value: object) -> str:
        return f"{self._paint(_CYAN, _visible(name))}={_quoted(value)}"

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colours else text


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that don't fit, or can't be printed
        message = str(record.msg)
    return _clipped(redact(message), _LONGEST_VALUE)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """The fields given by `log`; a record of any other origin has none."""
    fields = getattr(record, "fields", None)
    if not isinstance(fields, dict):
        return {}
    return {str(name): _plain(value) for name, value in fields.items() if value is not None}


def _plain(value: object) -> object:
    """A value that JSON has."""
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else str(value)
    if isinstance(value, bool | int):
        return value
    return _clipped(redact(str(value)), _LONGEST_VALUE)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    text = redact(formatter.formatException(record.exc_info))
    # The end names the exception: that is what must not be lost.
    return text if len(text) <= _LONGEST_TRACEBACK else f"…{text[-_LONGEST_TRACEBACK:]}"


def _clipped(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


def _visible(text: str) -> str:
    """The text with control, format and line-breaking characters as Python escapes."""
    return text if text.isprintable() else repr(text)[1:-1]


def _quoted(value: object) -> str:
    text = str(value)
    if text and text.isprintable() and not any(sign in text for sign in " \"'="):
        return text
    return repr(text)
