"""The shop sets up `logging` as it likes: its lines obey, and the worker's come all the same."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fulfillment_worker.observability.logs import LogHandler, configure, log

pytestmark = pytest.mark.usefixtures("logging_as_before")


class Out:
    """What has been written so far, as JSON."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.counted: list[str] = []
        self.handler: LogHandler

    def configure(self, level: str = "info") -> None:
        self.handler = configure(level, "json", self.stream, self.counted.append)

    @property
    def lines(self) -> list[dict[str, Any]]:
        self.handler.flush()
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]


@pytest.fixture
def out() -> Iterator[Out]:
    out = Out()
    out.configure()
    yield out
    out.handler.close()


def _file_config() -> None:
    config = (
        "[loggers]\nkeys=root\n[handlers]\nkeys=none\n[formatters]\nkeys=\n"
        "[logger_root]\nlevel=CRITICAL\nhandlers=none\n"
        "[handler_none]\nclass=NullHandler\nargs=()\n"
    )
    logging.config.fileConfig(io.StringIO(config))


def _remove_all_handlers() -> None:
    for handler in logging.getLogger().handlers[:]:
        logging.getLogger().removeHandler(handler)


def _worker_handlers() -> list[logging.Handler]:
    return [each for each in logging.getLogger().handlers if isinstance(each, LogHandler)]


def _raise_all_levels() -> None:
    logging.getLogger().setLevel(logging.CRITICAL)
    logging.getLogger("fulfillment_worker").setLevel(logging.CRITICAL)
    for handler in _worker_handlers():
        handler.setLevel(logging.CRITICAL)


def _filter_everything() -> None:
    for handler in _worker_handlers():
        handler.addFilter(lambda _: False)


def _fail_at_every_record() -> None:
    def fail(*_: object, **__: object) -> logging.LogRecord:
        raise RuntimeError("no record")

    logging.setLogRecordFactory(fail)


@pytest.mark.parametrize(
    "act",
    [
        lambda: logging.config.dictConfig({"version": 1}),
        lambda: logging.config.dictConfig({"version": 1, "root": {"handlers": []}}),
        lambda: logging.config.dictConfig(
            {"version": 1, "loggers": {"fulfillment_worker": {"level": "CRITICAL"}}}
        ),
        _file_config,
        lambda: logging.disable(logging.CRITICAL),
        logging.shutdown,
        lambda: logging.basicConfig(force=True, level=logging.CRITICAL, handlers=[]),
        _remove_all_handlers,
        _raise_all_levels,
        _filter_everything,
        _fail_at_every_record,
    ],
)
def test_logging_setup_of_the_shop_does_not_silence_the_worker(
    act: Callable[[], object], out: Out
) -> None:
    factory = logging.getLogRecordFactory()
    try:
        act()
        log(logging.INFO, "it_happened", count=3)
    finally:
        logging.setLogRecordFactory(factory)
    assert out.events == ["it_happened"]
    assert out.counted == ["info"]


def test_logging_setup_at_import_does_not_silence_the_worker(out: Out) -> None:
    logging.config.dictConfig({"version": 1})
    logging.disable(logging.CRITICAL)
    out.configure()
    log(logging.INFO, "it_happened")
    assert out.events == ["it_happened"]


def test_logging_of_the_shop_obeys_the_shop(out: Out) -> None:
    logging.getLogger("shop.noisy").setLevel(logging.ERROR)
    logging.getLogger("shop.noisy").warning("not wanted")
    logging.getLogger("shop").warning("wanted")
    logging.disable(logging.CRITICAL)
    logging.getLogger("shop").critical("switched off")
    assert out.events == ["wanted"]


def test_log_handlers_that_the_shop_adds_get_its_lines_and_the_workers(
    out: Out, tmp_path: Path
) -> None:
    file = tmp_path / "shop.log"
    logging.getLogger().addHandler(logging.FileHandler(file))
    logging.getLogger("shop").warning("packed")
    log(logging.INFO, "it_happened")
    assert file.read_text().split() == ["packed", "it_happened"]
    assert out.events == ["packed", "it_happened"]


def test_log_handlers_of_the_shop_from_its_import_stay_except_on_our_streams(
    out: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    file = tmp_path / "shop.log"
    handlers: list[logging.Handler] = [logging.StreamHandler(), logging.FileHandler(file)]
    logging.basicConfig(force=True, format="%(message)s", handlers=handlers)
    out.configure()
    logging.getLogger("shop").warning("packed")
    log(logging.WARNING, "it_happened")
    assert file.read_text().split() == ["packed", "it_happened"]
    assert out.events == ["packed", "it_happened"]
    assert stderr.getvalue() == ""


def test_log_lines_come_once_after_the_shop_has_replaced_the_handlers(
    out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    logging.basicConfig(force=True, level=logging.INFO, format="shop: %(message)s")
    logging.getLogger("shop").info("packed")
    log(logging.INFO, "it_happened")
    assert stderr.getvalue() == "shop: packed\n"
    assert out.events == ["it_happened"]


class Failing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("out of order")


def test_a_log_handler_of_the_shop_that_fails_costs_no_event(out: Out) -> None:
    logging.getLogger().addHandler(Failing())
    log(logging.INFO, "it_happened")
    assert out.events == ["it_happened"]


def test_libraries_that_listen_to_all_loggers_hear_of_the_worker(
    out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sentry's does it so."""
    heard: list[str] = []
    call_handlers = logging.Logger.callHandlers

    def listening(self: logging.Logger, record: logging.LogRecord) -> None:
        heard.append(record.getMessage())
        call_handlers(self, record)

    monkeypatch.setattr(logging.Logger, "callHandlers", listening)
    log(logging.ERROR, "it_happened")
    assert heard == ["it_happened"]
    assert out.events == ["it_happened"]


def test_a_formatter_of_the_shop_is_for_its_own_lines(out: Out) -> None:
    out.handler.setFormatter(logging.Formatter('{"event": "shop: %(message)s"}'))
    logging.getLogger("shop").warning("packed")
    log(logging.INFO, "it_happened")
    assert out.events == ["shop: packed", "it_happened"]


def test_a_log_value_that_hangs_holds_up_its_own_thread_alone(out: Out) -> None:
    go_on, hangs = threading.Event(), threading.Event()

    class Hanging:
        def __str__(self) -> str:
            hangs.set()
            go_on.wait(30)
            return "at last"

    thread = threading.Thread(target=logging.getLogger("shop").warning, args=("%s", Hanging()))
    thread.start()
    assert hangs.wait(10)
    log(logging.INFO, "it_happened")
    assert out.events == ["it_happened"]
    go_on.set()
    thread.join()
    assert out.events == ["it_happened", "at last"]
