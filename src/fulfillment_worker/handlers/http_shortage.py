"""Whether a request failed for want of something of the worker's own: a thread, or a descriptor."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import httpx

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_NO_MEMORY = (errno.ENOMEM, errno.ENOBUFS)
_DESCRIPTORS = "no descriptor is left: raise the limit (ulimit -n), or lower --concurrency"
_MEMORY = "no memory is left for a connection"
_THREADS = (
    "no thread can be started to look up the name: raise the limit of processes and threads "
    "(ulimit -u, pids.max, TasksMax=)"
)
_LONGEST_CHAIN = 20


def lacks(error: Exception) -> str | None:
    """What was lacking, in one line; None where that is not why, or something may have been sent.

    A resolver without a descriptor says that it doesn't know the name. So where no connection was
    made, it is tried whether there is one.
    """
    if isinstance(error, RuntimeError):
        return _THREADS if "new thread" in str(error) else None
    if not isinstance(error, httpx.ConnectError):
        return None
    for each in _chain(error):
        if isinstance(each, MemoryError):
            return _MEMORY
        if isinstance(each, OSError) and each.errno in _NO_MEMORY:
            return _MEMORY
        if isinstance(each, OSError) and each.errno in _NO_DESCRIPTOR:
            return _DESCRIPTORS
    return None if _has_descriptor() else _DESCRIPTORS


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, those that led to it, and those in groups."""
    waiting = [error]
    for _ in range(_LONGEST_CHAIN):
        if not waiting:
            return
        first = waiting.pop(0)
        yield first
        waiting += [each for each in (first.__cause__, first.__context__) if each is not None]
        if isinstance(first, BaseExceptionGroup):
            waiting += first.exceptions


def _has_descriptor() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno not in _NO_DESCRIPTOR
    return True
