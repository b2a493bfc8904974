"""The shop's own log handlers: which of them stay beside the worker's, and what they are told."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

from fulfillment_worker.observability.records import OwnRecord

_STDOUT, _STDERR = 1, 2


def writes_to_our_streams(handler: logging.Handler) -> bool:
    """Whether it writes to stdout or stderr, where the worker's handler writes each line, too."""
    stream = getattr(handler, "stream", None)
    if not isinstance(handler, logging.StreamHandler) or stream is None:
        return False
    if any(stream is each for each in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)):
        return True
    try:
        return stream.fileno() in (_STDOUT, _STDERR)
    except (AttributeError, ValueError, OSError):
        return False


def tell_shop(record: OwnRecord, *, configured: bool) -> None:
    """Pass an event of the worker on to the handlers of the shop, if they want it. Never raises.

    configured: whether it has been written to our streams already.
    """
    logger = logging.getLogger(record.name)
    try:
        if not logger.isEnabledFor(record.levelno):
            return
        if configured:
            logger = _without_ours(logger)
        logger.callHandlers(record)
    except Exception:  # noqa: BLE001 - a handler of the shop's; what it missed is in our log
        pass


def _without_ours(logger: logging.Logger) -> logging.Logger:
    """A logger with the handlers of `logger` and those above it, as far as they are the shop's.

    It stands for `logger`, since libraries such as Sentry's listen to `callHandlers` itself.
    """
    stand_in = logging.Logger(logger.name)
    stand_in.handlers = [each for each in _handlers(logger) if _is_shops(each)]
    stand_in.addHandler(logging.NullHandler())
    return stand_in


def _handlers(logger: logging.Logger) -> Iterator[logging.Handler]:
    above: logging.Logger | None = logger
    while above is not None:
        yield from above.handlers
        above = above.parent if above.propagate else None


def _is_shops(handler: logging.Handler) -> bool:
    return not (getattr(handler, "is_the_workers", False) or writes_to_our_streams(handler))
