"""stdout and stderr as a handler needs them: seen at once, and never a reason to fail.

What a handler prints is read while it runs, also through a pipe, and is not lost with the process.
A reader that is gone, a full disk or a character that the encoding lacks costs the text, and not
the order.
"""

from __future__ import annotations

import io
import os
import select
import sys
from contextlib import suppress
from typing import Any, TextIO

_STDIN, _STDOUT, _STDERR = 0, 1, 2


def make_streams_safe() -> None:
    """Call it once, before anything is opened or printed."""
    _open_standard_descriptors()
    for name, descriptor in (("stdout", _STDOUT), ("stderr", _STDERR)):
        stream = getattr(sys, name)
        if stream is None or _is_file(stream, descriptor):
            safe = _safe(stream, descriptor, f"<{name}>")
            setattr(sys, name, safe)
            setattr(sys, f"__{name}__", safe)


def _open_standard_descriptors() -> None:
    """Started with a closed stdout, the worker would have a connection to Redis for its number.

    What a program of the shop's then prints would be sent to Redis.
    """
    for descriptor in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _is_file(stream: TextIO, descriptor: int) -> bool:
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == descriptor
    except (ValueError, OSError):  # closed, or in memory
        return False


def _safe(stream: TextIO | None, descriptor: int, name: str) -> TextIO:
    if stream is not None:
        with suppress(OSError, ValueError):
            stream.flush()
    raw = _SafeFile(descriptor, "w", closefd=False)
    raw.name = name
    return _SafeText(
        io.BufferedWriter(raw),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=True,
        write_through=getattr(stream, "write_through", False),
    )


class _SafeFile(io.FileIO):
    """Writes as far as that is possible, and never raises."""

    name: str

    def write(self, data: Any, /) -> int:
        """Write it, or let it go."""
        try:
            while (written := super().write(data)) is None:
                # Somebody who shares the terminal or pipe made it so that it doesn't wait.
                select.select((), (self,), ())
        except OSError:
            return memoryview(data).nbytes
        return written


class _SafeText(io.TextIOWrapper):
    def close(self) -> None:
        """Write what waits; another order may want to print, too."""
        self.flush()
