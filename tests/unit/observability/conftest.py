"""Logging, put back as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from fulfillment_worker.observability import logs


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Undo what a test does to the logging of the process, and to that of the worker."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {logger: logger.level for logger in _loggers()}
    own = logs._Own.handler, logs._Own.level
    yield
    logs._Own.handler, logs._Own.level = own
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        if handler not in handlers:
            handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    logging.disable(logging.NOTSET)
    logging.captureWarnings(False)
    for logger in _loggers():
        logger.disabled = False
        logger.setLevel(levels.get(logger, logging.NOTSET))


def _loggers() -> list[logging.Logger]:
    known = logging.Logger.manager.loggerDict.values()
    return [logger for logger in known if isinstance(logger, logging.Logger)]
