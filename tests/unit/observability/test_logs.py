"""Log lines: their two forms, where they go, and what may never be in them."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fulfillment_worker.observability import logs
from fulfillment_worker.observability.lines import level_name
from fulfillment_worker.observability.logs import LogHandler, configure, log
from tests.support.eventually import eventually

pytestmark = pytest.mark.usefixtures("logging_as_before")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _lines(handler: LogHandler, stream: io.StringIO) -> list[str]:
    handler.flush()
    return stream.getvalue().splitlines()


def _logged(act: Callable[[], object], level: str = "debug") -> list[dict[str, Any]]:
    stream = io.StringIO()
    logging.getLogger().handlers.clear()  # pytest's own raise what a record makes them raise
    handler = configure(level, "json", stream)
    act()
    return [json.loads(line) for line in _lines(handler, stream)]


def _on_terminal(act: Callable[[], object]) -> str:
    stream = Terminal()
    handler = configure("debug", "auto", stream)
    act()
    handler.flush()
    return stream.getvalue()


def test_json_is_one_object_a_line() -> None:
    (line,) = _logged(lambda: log(logging.INFO, "orders_recovered", count=3, away=1.23456789))
    moment = line.pop("timestamp")
    assert line == {
        "level": "info",
        "event": "orders_recovered",
        "logger": "fulfillment_worker",
        "count": 3,
        "away": 1.234568,
    }
    assert moment[10] == "T"
    assert moment.endswith("Z")


@pytest.mark.parametrize("value", [float("nan"), "\ud800", "a\nb\x1b[2J", object(), b"x"])
def test_json_stays_json_whatever_the_value(value: object) -> None:
    (line,) = _logged(lambda: log(logging.INFO, "it_happened", given=value, missing=None))
    assert isinstance(line["given"], str)
    assert "missing" not in line


def test_a_field_cannot_replace_what_every_line_has() -> None:
    (line,) = _logged(lambda: log(logging.INFO, "it_happened", timestamp="never", logger="x"))
    assert line["timestamp"] != "never"
    assert line["logger"] == "fulfillment_worker"


def test_auto_is_json_unless_on_a_terminal() -> None:
    stream = io.StringIO()
    handler = configure("info", "auto", stream)
    log(logging.INFO, "it_happened")
    assert json.loads(_lines(handler, stream)[0])["event"] == "it_happened"
    shown = _on_terminal(lambda: log(logging.WARNING, "it_happened", order_id="A-1"))
    assert "\x1b[33mwarning" in shown
    assert "order_id\x1b[0m=A-1\n" in shown


def test_console_without_a_terminal_has_no_colours() -> None:
    stream = io.StringIO()
    handler = configure("info", "console", stream)
    log(logging.INFO, "it_happened", why="two words", empty="")
    (line,) = _lines(handler, stream)
    assert line.endswith("info     it_happened why='two words' empty=''")
    assert "\x1b" not in line


def test_a_text_can_neither_forge_a_line_nor_steer_the_terminal() -> None:
    evil = "x\r\n12:00 info all_is_well\x1b[2J\x9b31m\u202e\u2028"
    shown = _on_terminal(lambda: log(logging.ERROR, evil, why=evil, **{evil: 1}))
    assert shown.count("\n") == 1
    for sign in ("\r", "\x1b[2J", "\x9b", "\u202e", "\u2028"):
        assert sign not in shown


def _fail() -> None:
    try:
        raise ValueError("broken\x1b[2J at redis://:hunter2@host/0")
    except ValueError:
        logging.getLogger("shop").exception("it failed")


def test_tracebacks() -> None:
    (line,) = _logged(_fail)
    assert "ValueError: broken" in line["exception"]
    assert "hunter2" not in line["exception"]
    shown = _on_terminal(_fail)
    assert "ValueError: broken\\x1b[2J at redis://***@host/0" in shown


def test_no_line_holds_a_credential() -> None:
    url = "redis://:hunter2@host/0"
    lines = _logged(lambda: log(logging.ERROR, f"lost {url}", why=url, error=ValueError(url)))
    assert "hunter2" not in json.dumps(lines)


def test_the_handlers_own_loggers_come_out_in_the_same_form() -> None:
    (line,) = _logged(lambda: logging.getLogger("shop").warning("%d parcels", 3), "info")
    assert (line["logger"], line["event"], line["level"]) == ("shop", "3 parcels", "warning")


def test_the_level_holds_for_everybody() -> None:
    def act() -> None:
        for name in ("shop", "fulfillment_worker"):
            logging.getLogger(name).info("quiet")
            logging.getLogger(name).error("loud")

    assert [line["event"] for line in _logged(act, "warning")] == ["loud", "loud"]


def test_libraries_that_name_each_request_are_quiet() -> None:
    assert _logged(lambda: logging.getLogger("httpx").info("HTTP Request: POST http://x")) == []


def test_the_garbage_of_a_cluster_client_is_no_news() -> None:
    def act() -> None:
        asyncio_log = logging.getLogger("asyncio")
        asyncio_log.error("Unclosed ClusterNode object\nclient: [host=127.0.0.1, port=7000]")
        asyncio_log.error("Task exception was never retrieved")

    assert [line["event"] for line in _logged(act)] == ["Task exception was never retrieved"]


def test_warnings_are_log_messages() -> None:
    def act() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
            logging.captureWarnings(False)

    (line,) = _logged(act)
    assert line["logger"] == "py.warnings"


def test_arguments_that_do_not_fit_cost_no_message() -> None:
    (line,) = _logged(lambda: logging.getLogger("shop").error("%d parcels", "many"))
    assert line["event"] == "%d parcels"


def test_long_values_are_cut() -> None:
    (line,) = _logged(lambda: log(logging.INFO, "it_happened", body="x" * 100_000))
    assert len(line["body"]) < 2_100


def test_messages_are_counted_by_level() -> None:
    counted: Counter[str] = Counter()

    def count(level: str) -> None:
        counted[level] += 1

    handler = configure("info", "json", io.StringIO(), count)
    log(logging.DEBUG, "not_logged")
    log(logging.INFO, "it_happened")
    logging.getLogger("shop").error("twice")
    logging.getLogger("shop").error("twice")
    logging.getLogger("shop").log(35, "in between")
    handler.flush()
    assert counted == {"info": 1, "error": 2, "warning": 1}


def test_levels_have_five_names() -> None:
    numbers = (0, 10, 20, 25, 30, 40, 50, 99)
    names = ["debug", "debug", "info", "info", "warning", "error", "critical", "critical"]
    assert [level_name(number) for number in numbers] == names


class Stalled(io.StringIO):
    """A stream whose reader has stopped reading."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        self.go_on.wait(30)
        return super().write(text)


def test_a_reader_that_stalls_stops_nobody_and_what_was_dropped_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "_MOST_WAITING", 10)
    stream = Stalled()
    dropped: list[None] = []
    configure("info", "json", stream, on_drop=lambda: dropped.append(None))
    for number in range(100):
        log(logging.INFO, "it_happened", number=number)
    stream.go_on.set()
    eventually(lambda: "log_lines_dropped" in stream.getvalue(), what="the loss is told")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = sum(line["count"] for line in lines if line["event"] == "log_lines_dropped")
    written = sum(line["event"] == "it_happened" for line in lines)
    assert written + told == 100
    assert told >= 89
    assert len(dropped) == told


def test_long_lines_are_dropped_before_they_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "_MOST_CHARACTERS", 5000)
    stream = Stalled()
    dropped: list[None] = []
    handler = configure("info", "json", stream, on_drop=lambda: dropped.append(None))
    for _ in range(20):
        log(logging.INFO, "it_happened", body="x" * 900)
    assert 10 < len(dropped) < 16
    stream.go_on.set()
    handler.flush()
    log(logging.INFO, "all_is_well")
    handler.flush()
    assert "all_is_well" in stream.getvalue()


def test_a_pipe_that_does_not_wait_gets_every_line() -> None:
    """Somebody who shares the pipe may have made it so."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(writer, "w") as stream:  # noqa: PTH123 - a descriptor
        handler = configure("info", "json", stream)
        for number in range(1000):
            log(logging.INFO, "it_happened", number=number)
        received = b""
        while received.count(b"\n") < 1000:
            received += os.read(reader, 65536)
        handler.close()
    os.close(reader)
    numbers = [json.loads(line)["number"] for line in received.splitlines()]
    assert numbers == list(range(1000))


class Failing(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError("nobody reads")

    def isatty(self) -> bool:
        raise ValueError("closed")


def test_a_stream_that_fails_never_raises() -> None:
    handler = configure("info", "auto", Failing())
    log(logging.INFO, "it_happened")
    log(logging.INFO, "it_happened")
    handler.close()


def test_a_count_that_fails_never_raises() -> None:
    def fail(level: str) -> None:
        raise RuntimeError("out of order")

    handler = configure("info", "json", io.StringIO(), fail)
    log(logging.INFO, "it_happened")
    handler.close()


def test_more_fields_can_be_asked_for_in_the_thread_that_logs() -> None:
    stream = io.StringIO()
    handler = configure("info", "json", stream)
    handler.add_fields(lambda: {"trace_id": "ab", "why": "never"})
    log(logging.INFO, "it_happened", why="because")
    logging.getLogger("shop").info("packed")
    ours, theirs = (json.loads(line) for line in _lines(handler, stream))
    assert (ours["trace_id"], ours["why"]) == ("ab", "because")
    assert theirs["trace_id"] == "ab"


def test_an_unknown_level_is_an_error() -> None:
    with pytest.raises(ValueError, match="Unknown level"):
        configure("loud", "json", io.StringIO())


def test_configuring_again_replaces_the_former() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("info", "json", first)
    handler = configure("info", "json", second)
    log(logging.INFO, "it_happened")
    assert len(_lines(handler, second)) == 1
    assert first.getvalue() == ""


def test_all_lines_are_written_before_the_process_ends() -> None:
    program = (
        "import logging\n"
        "from fulfillment_worker.observability.logs import configure, log\n"
        "configure('info')\n"
        "for n in range(500): log(logging.INFO, 'it_happened', number=n)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(done.stderr.splitlines()) == 500


def test_it_goes_on_in_the_child_of_a_fork() -> None:
    program = (
        "import logging, os\n"
        "from fulfillment_worker.observability.logs import configure, log\n"
        "handler = configure('info')\n"
        "log(logging.INFO, 'in_parent')\n"
        "handler.flush()\n"
        "child = os.fork()\n"
        "log(logging.INFO, 'forked')\n"
        "if child: os.waitpid(child, 0)\n"
    )
    # The writer of the log is a thread, and Python warns of any fork beside one.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert Counter(json.loads(line)["event"] for line in done.stderr.splitlines()) == {
        "in_parent": 1,
        "forked": 2,
    }


def test_observability_is_cheap_to_import() -> None:
    """An idle worker is to stay under 40 MiB; rich alone would take 4 of them."""
    program = (
        "import sys\n"
        "import fulfillment_worker.observability.logs\n"
        "import fulfillment_worker.observability.event_log\n"
        "import fulfillment_worker.observability.server\n"
        "import fulfillment_worker.observability.ticker\n"
        "import fulfillment_worker.observability.hooks\n"
        "print('rich' in sys.modules, 'pygments' in sys.modules)\n"
    )
    environment = {name: v for name, v in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "False False\n"
