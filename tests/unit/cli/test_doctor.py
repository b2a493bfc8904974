"""What `doctor` prints, and its exit codes; Redis is only facts here."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from fulfillment_worker.admin.rules.facts import RedisFacts, Server
from fulfillment_worker.cli import doctor as command
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.queue.redis_queue import QueuePolicy
from tests.unit.cli.conftest import Run

Find = Callable[[RedisFacts], None]


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Find:
    """Decides what is found at Redis."""

    def decide(facts: RedisFacts) -> None:
        async def gather(url: RedisUrl, queues: Iterable[str], policy: QueuePolicy) -> RedisFacts:
            return facts

        monkeypatch.setattr(command, "gather", gather)

    return decide


@pytest.fixture(autouse=True)
def _any_port(monkeypatch: pytest.MonkeyPatch, find: Find) -> None:
    monkeypatch.setenv("FULFILLMENT_METRICS_PORT", "0")
    find(RedisFacts(servers=(Server(policy="noeviction"),)))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes the module `shop` into the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(source: str) -> None:
        (tmp_path / "shop.py").write_text(source)

    return write


def handler_fault(cli: Run) -> str:
    result = cli("doctor", "--handler", "shop:fulfil", "--json")
    (finding,) = json.loads(result.stdout)["findings"]
    assert (result.exit_code, finding["kind"]) == (1, "handler")
    return str(finding["what"])


def test_all_well_is_exit_0_with_a_line_for_each_check(cli: Run) -> None:
    result = cli("doctor")
    assert result.exit_code == 0
    assert "✓ a full memory deletes no orders" in result.stdout.splitlines()
    assert "0 problems, 0 warnings, 0 notes" in result.stdout
    assert "\x1b" not in result.stdout


def test_a_problem_is_exit_1_with_two_lines_indented(cli: Run, find: Find) -> None:
    find(RedisFacts(servers=(Server(policy="allkeys-lru"),)))
    result = cli("doctor")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    at = lines.index("✗ Redis has the maxmemory-policy allkeys-lru")
    assert lines[at + 1].startswith("    when its memory is full")
    assert lines[at + 2] == "    redis-cli CONFIG SET maxmemory-policy noeviction"
    assert "1 problem, 0 warnings, 0 notes" in lines
    assert lines[-1].startswith("CONFIG SET lasts until")


@pytest.mark.parametrize(
    ("facts", "mark"),
    [(RedisFacts(unverified=True, scheme="rediss"), "! TLS"), (RedisFacts(skew=9.0), "- this")],
)
def test_warnings_and_notes_are_exit_0(cli: Run, find: Find, facts: RedisFacts, mark: str) -> None:
    find(facts)
    result = cli("doctor")
    assert result.exit_code == 0
    assert any(line.startswith(mark) for line in result.stdout.splitlines())


def test_a_terminal_gets_colours(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert command._mark("✓", "+", "green") == "\x1b[32m✓\x1b[0m"


def test_a_terminal_without_the_marks_gets_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Latin:
        encoding = "latin-1"

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdout", Latin())
    assert command._mark("✓", "+", "green") == "+"


def test_programs_get_everything(cli: Run, find: Find) -> None:
    find(RedisFacts(servers=(Server(policy="allkeys-lru", role="master"),)))
    result = cli("doctor", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["ok"] is False
    assert {"replication", "connection", "lease"} <= set(answer["passed"])
    assert {"grace", "handler", "clock"} <= set(answer["skipped"])
    (finding,) = answer["findings"]
    assert (finding["kind"], finding["severity"]) == ("eviction", "problem")
    assert finding.keys() == {"kind", "severity", "what", "means", "mend"}


@pytest.mark.parametrize(("given", "code"), [("20s", 1), ("30s", 0), ("40s", 0)])
def test_what_the_orchestrator_gives_is_checked(cli: Run, given: str, code: int) -> None:
    result = cli("doctor", "--orchestrator-grace", given)
    assert result.exit_code == code
    assert ("✓ a drain ends before the worker is killed" in result.stdout) == (given == "40s")


def test_wrong_settings_are_exit_2(cli: Run) -> None:
    result = cli("doctor", "--orchestrator-grace", "soon", "--lease", "x")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 2


def test_a_taken_port_is_found(cli: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = cli("doctor", "--metrics-host", "127.0.0.1", "--metrics-port", port)
    assert result.exit_code == 1
    assert f"✗ the metrics port {port} can't be bound: Address already in use" in result.stdout
    assert f"ss -ltnp 'sport = :{port}'" in result.stdout
    assert cli("doctor", "--metrics-host", "127.0.0.1", "--metrics-port", port).exit_code == 0


def test_a_handler_that_loads_may_print(cli: Run, shop: Callable[[str], None]) -> None:
    shop("print('{}')\nasync def fulfil(order): ...\n")
    result = cli("doctor", "--handler", "shop:fulfil", "--json")
    assert result.exit_code == 0
    assert "handler" in json.loads(result.stdout)["passed"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import nowhere\nasync def fulfil(order): ...\n", "nowhere"),
        ("async def fulfill(order): ...\n", "fulfill"),
        ("raise SystemExit(0)\n", "SystemExit"),
        ("import os\nos._exit(0)\n", "ended the process (exit code 0)"),
        ("import os\nos.abort()\n", "ended the process (exit code -6)"),
    ],
)
def test_a_handler_that_does_not_load_is_found(
    cli: Run, shop: Callable[[str], None], source: str, says: str
) -> None:
    shop(source)
    assert says in handler_fault(cli)


def test_a_handler_that_never_loads_is_given_up(
    cli: Run, shop: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_HANDLER_PATIENCE", 0.5)
    shop("import threading\nthreading.Event().wait()\n")
    assert "isn't there after 0.5 s" in handler_fault(cli)


def test_secrets_of_a_handlers_url_are_not_shown(cli: Run) -> None:
    for more in ([], ["--json"]):
        result = cli("doctor", "--handler", "https://shop:hunter2@h.example/f", *more)
        assert "hunter2" not in result.output
