"""Logs: one line per message, for people on a terminal, as JSON for machines everywhere else.

All loggers of the process (ours, the handler's, the libraries') end in one handler. Lines are
written by a thread of their own: a reader that stalls can't stop the worker, and what doesn't
fit into the queue meanwhile is dropped, and counted.

The worker's own events go to that handler directly, past the loggers of the process. So the shop
can set up `logging` as it likes: it can't silence the worker.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Literal, TextIO

from fulfillment_worker.core.shortage import Shortage
from fulfillment_worker.observability.lines import (
    ConsoleFormatter,
    JsonFormatter,
    LineFormatter,
    level_name,
)
from fulfillment_worker.observability.records import OwnRecord
from fulfillment_worker.observability.shop_handlers import tell_shop, writes_to_our_streams
from fulfillment_worker.system.signals import leave_signals_to_the_main_thread
from fulfillment_worker.system.threads import start_thread

Format = Literal["auto", "console", "json"]

_NAME = "fulfillment_worker"
_MOST_WAITING = 10_000
_MOST_CHARACTERS = 8 * 1024 * 1024
_FLUSH_SECONDS = 2.0
# These name each request's URL at info: one line per order, and URLs may hold secrets.
_CHATTY = ("httpx", "httpcore", "asyncio", "redis", "urllib3")


class _Own:
    """Where the worker's own events go, and from which level up. Everything before `configure`."""

    level = logging.NOTSET
    handler: LogHandler | None = None


def log(level: int, event: str, **fields: object) -> None:
    """Log something that happened. level: of `logging`. event: past tense, snake_case."""
    if level < _Own.level:
        return
    record = OwnRecord(_NAME, level, event, fields)
    if _Own.handler is not None:
        _Own.handler.emit(record)
    tell_shop(record, configured=_Own.handler is not None)


def is_logged(level: int) -> bool:
    """Whether an event of this level comes out."""
    return level >= _Own.level


def configure(
    level: str,
    format: Format = "auto",
    stream: TextIO | None = None,
    on_log: Callable[[str], None] | None = None,
    on_drop: Callable[[], None] | None = None,
) -> LogHandler:
    """Send every logger of the process to `stream` (default: stderr), from `level` up.

    format: "auto" is "console" on a terminal, else "json". on_log: called with the level's name
    for each message, in the thread that logs. on_drop: called for each line that is not written.
    Replaces what a former call has set up, and handlers of root that write to stdout or stderr:
    each line comes once.
    Returns the handler: `close` it at the end, to have all lines written.
    Raises ValueError for an unknown level.
    """
    stream = sys.stderr if stream is None else stream
    root = logging.getLogger()
    root.setLevel(level.upper())
    handler = LogHandler(stream, _formatter(format, stream), on_log or _ignore, on_drop or _ignore)
    for former in root.handlers[:]:
        # The shop's other handlers (files, collectors) stay.
        if isinstance(former, LogHandler) or writes_to_our_streams(former):
            root.removeHandler(former)
            former.close()
    root.addHandler(handler)
    _Own.level, _Own.handler = root.level, handler
    logging.captureWarnings(True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("asyncio").addFilter(_is_news)
    return handler


def _is_news(record: logging.LogRecord) -> bool:
    """redis-py leaves the nodes of a cluster to the garbage collector after each fault.

    asyncio tells of each as an error, dozens in a fail-over; the fault itself is logged by us.
    """
    return not record.getMessage().startswith("Unclosed ClusterNode object")


def _formatter(format: Format, stream: TextIO) -> LineFormatter:
    terminal = _is_terminal(stream)
    if format == "console" or (format == "auto" and terminal):
        return ConsoleFormatter(colours=terminal)
    return JsonFormatter()


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError, OSError):  # no real stream, or a closed one
        return False


def _ignore(*_level: str) -> None:
    pass


def _descriptor(stream: TextIO) -> int | None:
    """Of the file behind it; None where there is none."""
    try:
        return stream.fileno()
    except (AttributeError, ValueError, OSError):
        return None


class LogHandler(logging.Handler):
    """Formats in the thread that logs, writes in its own. Never raises, never waits."""

    is_the_workers = True

    def __init__(
        self,
        stream: TextIO,
        formatter: LineFormatter,
        on_log: Callable[[str], None],
        on_drop: Callable[[], None],
    ) -> None:
        super().__init__()
        self._stream = stream
        self._lines_of = formatter
        # Past the stream's own buffer, whose lock a write that stalls would hold at the very end.
        self._descriptor = _descriptor(stream)
        self._on_log = on_log
        self._on_drop = on_drop
        self._also: list[Callable[[], Mapping[str, object]]] = []
        # Safe also where a destructor logs while this thread is in the middle of `put`.
        self._lines: SimpleQueue[str | threading.Event] = SimpleQueue()
        # Each is changed by one side alone: the loggers, in the handler's lock, and the writer.
        self._put = self._taken = 0
        self._dropped = 0
        self._stalled = False
        self._thread: threading.Thread | None = None

    def add_fields(self, fields: Callable[[], Mapping[str, object]]) -> None:
        """Ask for more fields for each line, in the thread that logs; its own come first."""
        self._also.append(fields)

    def handle(self, record: logging.LogRecord) -> bool:
        """As `logging` has it, but the lock is not held while the line is made.

        A stranger's value that hangs when it is printed hangs its own thread, and no other.
        """
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Count the message, and hand its line to the writer."""
        try:
            self._on_log(level_name(record.levelno))
            if self._is_full():
                self._drop()
                return
            self._hand_over(self._line(record) + "\n")
        except Exception:  # noqa: BLE001 - a log line must never fail what it tells of
            self._drop()

    def _line(self, record: logging.LogRecord) -> str:
        if self.formatter is not None and not isinstance(record, OwnRecord):
            return self.format(record)  # the shop has given it one of its own
        added: dict[str, object] = {}
        for fields in self._also:
            added |= fields()
        return self._lines_of.line(record, added)

    def _hand_over(self, line: str) -> None:
        self.acquire()
        try:
            self._put += len(line)
            self._lines.put(line)
            self._ensure_writer()
        finally:
            self.release()

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: there is nowhere left to say it."""

    def flush(self) -> None:
        """Wait until all lines so far were written, but not for ever; once, if nobody reads."""
        if self._thread is not None and self._thread.is_alive() and not self._stalled:
            written = threading.Event()
            self._lines.put(written)
            self._stalled = not written.wait(_FLUSH_SECONDS)

    def close(self) -> None:
        """Write what waits. The handler can go on being used. Idempotent."""
        self.flush()
        super().close()

    def _is_full(self) -> bool:
        waiting = self._put - self._taken
        return self._lines.qsize() >= _MOST_WAITING or waiting >= _MOST_CHARACTERS

    def _drop(self) -> None:
        self._dropped += 1
        self._on_drop()

    def _ensure_writer(self) -> None:
        # A fork keeps the object but not the thread.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._write, name="log-writer", daemon=True)
            try:
                start_thread(self._thread)
            except Shortage:
                self._write_what_can_be()

    def _write_what_can_be(self) -> None:
        """No thread can be had: write here, as long as nobody has to wait for the reader."""
        while self._descriptor is None or select.select((), (self._descriptor,), (), 0)[1]:
            try:
                self._take(self._lines.get_nowait())
            except Empty:
                return

    def _write(self) -> None:
        leave_signals_to_the_main_thread()
        while True:
            self._take(self._lines.get())

    def _take(self, line: str | threading.Event) -> None:
        if isinstance(line, threading.Event):
            line.set()
            return
        self._taken += len(line)
        self._write_line(line)
        self._stalled = False
        if self._dropped and self._lines.empty():
            self._tell_dropped()

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        record = OwnRecord(_NAME, logging.WARNING, "log_lines_dropped", {"count": dropped})
        self._write_line(self._lines_of.line(record, {}) + "\n")

    def _write_line(self, line: str) -> None:
        try:
            if self._descriptor is None:
                self._stream.write(line)
                self._stream.flush()
            else:
                encoding = getattr(self._stream, "encoding", None) or "utf-8"
                _write_all(self._descriptor, line.encode(encoding, "backslashreplace"))
        except (OSError, ValueError):  # the reader has gone, or the stream was closed
            self._drop()


def _write_all(descriptor: int, line: bytes) -> None:
    while line:
        try:
            line = line[os.write(descriptor, line) :]
        except BlockingIOError:  # somebody who shares the terminal or pipe made it so
            select.select((), (descriptor,), ())
