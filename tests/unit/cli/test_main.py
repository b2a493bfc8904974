"""Help, exit codes, and one line for each fault."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fulfillment_worker.cli.clients import ask
from fulfillment_worker.cli.main import COMMANDS
from fulfillment_worker.config.redis_url import Scheme
from fulfillment_worker.config.settings import SPECS, Settings
from fulfillment_worker.core.exchange import QueueUnavailable
from tests.unit.cli.conftest import Run


def stub(monkeypatch: pytest.MonkeyPatch, module: str, **functions: Any) -> None:
    name = f"fulfillment_worker.{module}"
    assert find_spec(name)
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(**functions))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(cli: Run, command: str) -> None:
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert "Examples:\n    " in result.stdout
    assert f"fulfillment-worker {command}" in result.stdout


def test_help_lists_all_commands(cli: Run) -> None:
    result = cli("--help")
    assert result.exit_code == 0
    assert all(f"  {name} " in result.stdout for name in COMMANDS)


def test_run_has_a_flag_for_every_setting_and_shows_no_secret(
    cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@h")
    result = cli("run", "--help")
    assert all(f"{spec.flag} " in result.stdout for spec in SPECS.values())
    assert "hunter2" not in result.output


@pytest.mark.parametrize("command", [("--help",), ("monitoring", "made")])
def test_a_full_disk_is_one_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fulfillment_worker", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == (
        "fulfillment-worker: the output can't be written: No space left on device\n"
    )


def test_version(cli: Run) -> None:
    assert cli("--version").stdout.startswith("fulfillment-worker ")


@pytest.mark.parametrize("args", [["nope"], ["queue", "--nope"], ["status"], ["queue", "x"]])
def test_wrong_usage_is_one_line_and_exit_2(cli: Run, args: list[str]) -> None:
    result = cli(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("fulfillment-worker: ")


def test_no_command_shows_the_help(cli: Run) -> None:
    result = cli()
    assert result.exit_code == 2
    assert "Commands:" in result.output


def test_wrong_settings_are_a_line_each_and_exit_2(
    cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FULFILLMENT_LEASE", "10x")
    monkeypatch.setenv("FULFILLMENT_QUEUES", "a")
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@h:x")
    result = cli("run", "--concurrency", "0")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("fulfillment-worker: ") for line in lines)
    assert "Traceback" not in result.output
    assert "hunter2" not in result.output


def test_run_without_a_handler_says_how_to_give_one(cli: Run) -> None:
    result = cli("run")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "FULFILLMENT_HANDLER" in line
    assert "--handler" in line
    assert "package.module:function" in line


@pytest.mark.parametrize("code", [0, 1, 3])
def test_run_exits_with_the_workers_code(
    cli: Run, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    given: list[Settings] = []

    def work(settings: Settings) -> int:
        given.append(settings)
        return code

    stub(monkeypatch, "runtime.run", run=work)
    assert cli("run", "--handler", "a:b", "--lease", "1s").exit_code == code
    assert (given[0].handler, given[0].lease) == ("a:b", 1)


def test_ctrl_c_is_exit_1_without_a_traceback(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(settings: Settings) -> int:
        raise KeyboardInterrupt

    stub(monkeypatch, "runtime.run", run=interrupted)
    result = cli("run", "--handler", "a:b")
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_demo_runs_on_a_server_of_its_own_that_leaves_nothing(
    cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Settings, dict[str, Any], bool]] = []

    def demo(settings: Settings, **options: Any) -> int:
        calls.append((settings, options, _is_folder(settings.redis_url.path)))
        return 0

    stub(monkeypatch, "demo.run_demo", demo=demo)
    assert cli("demo", "--orders", "5", "--rate", "2.5", "--seed", "1").exit_code == 0
    assert cli("demo", "--data", "here", "--metrics-port", "0").exit_code == 0
    (settings, options, existed), (kept, defaults, _) = calls
    assert settings.redis_url.scheme is Scheme.EMBEDDED
    assert options == {"orders": 5, "rate": 2.5, "seed": 1}
    assert existed
    assert not _is_folder(settings.redis_url.path)
    assert (kept.redis_url.path, kept.metrics_port) == ("here", 0)
    assert defaults == {"orders": None, "rate": 20.0, "seed": None}


def _is_folder(path: str) -> bool:
    return Path(path).is_dir()


def test_faults_of_own_options_come_with_those_of_settings(cli: Run) -> None:
    result = cli("demo", "--orders", "0", "--rate", "fast", "--concurrency", "x")
    assert result.exit_code == 2
    assert [line.split(" is ")[0] for line in result.stderr.splitlines()] == [
        "fulfillment-worker: --orders",
        "fulfillment-worker: --rate",
        "fulfillment-worker: --concurrency",
    ]


def test_a_queue_that_cannot_be_asked_is_exit_1_and_one_line(
    cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*_: object) -> None:
        raise QueueUnavailable("Redis at redis://h:6379/0 can't be reached: \x1b[31mno")

    monkeypatch.setattr("fulfillment_worker.cli.queue._overviews", unavailable)
    result = cli("queue")
    assert result.exit_code == 1
    assert result.stderr == (
        "fulfillment-worker: Redis at redis://h:6379/0 can't be reached: \\x1b[31mno\n"
    )


def test_ask_returns_the_answer() -> None:
    async def answer() -> int:
        return 7

    assert ask(answer()) == 7


def test_run_starts_without_what_it_has_no_use_for() -> None:
    code = (
        "import sys, fulfillment_worker.cli.main, fulfillment_worker.cli.run\n"
        "sys.exit(sum(name in sys.modules for name in ('rich', 'httpx', 'redis')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    # `sh` has no pipefail; what matters is that nothing is printed to standard error.
    command = f"{sys.executable} -m fulfillment_worker run --help | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert done.stderr == b""
