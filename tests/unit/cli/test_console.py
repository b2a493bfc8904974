"""The command `console`: its options, its token, and what it is started with."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fulfillment_worker.config.console_token import console_token
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.console.access import RIGHTS, Options
from tests.unit.cli.conftest import Run

TOKEN = "a-token-of-some-length"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, Options]]:
    """What was served, and how."""
    calls: list[Any] = []

    def serve(settings: Settings, options: Options) -> int:
        calls.append((settings, options))
        return 0

    for name in ("starlette", "jinja2", "uvicorn"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    served = ModuleType("serve")
    served.serve = serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fulfillment_worker.console.serve", served)
    return calls


def test_console_is_read_only_and_loopback_by_default(
    cli: Run, served: list[tuple[Settings, Options]]
) -> None:
    assert cli("console").exit_code == 0
    ((_, options),) = served
    assert (options.host, options.port, options.token) == ("127.0.0.1", 8080, None)
    assert options.allow == frozenset()
    assert "@" in options.user


def test_console_takes_rights_names_and_a_token(
    cli: Run, served: list[tuple[Settings, Options]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FULFILLMENT_CONSOLE_TOKEN", TOKEN)
    cli("console", "--host", "*", "--allow", "all", "--server-name", "c.example", "--queue", "a,b")
    ((settings, options),) = served
    assert (options.host, options.token, options.names) == ("", TOKEN, ("c.example",))
    assert options.allow == frozenset(RIGHTS)
    assert settings.queues == ("a", "b")


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "::", "10.0.0.1"])
def test_console_for_others_needs_a_token(
    cli: Run, served: list[tuple[Settings, Options]], host: str
) -> None:
    result = cli("console", "--host", host)
    assert result.exit_code == 2
    assert "FULFILLMENT_CONSOLE_TOKEN" in result.stderr
    assert served == []


def test_console_tells_all_faults_at_once(cli: Run) -> None:
    result = cli("console", "--allow", "everything", "--port", "x", "--server-name", "a:1")
    assert result.exit_code == 2
    assert [line.split(" is ")[0] for line in result.stderr.splitlines()] == [
        "fulfillment-worker: --allow",
        "fulfillment-worker: --port",
        "fulfillment-worker: --server-name",
    ]


@pytest.mark.parametrize("missing", ["starlette", "jinja2", "uvicorn"])
def test_console_without_its_extra_says_what_to_install(
    cli: Run,
    served: list[tuple[Settings, Options]],
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    result = cli("console")
    assert result.exit_code == 2
    assert result.stderr == (
        f"fulfillment-worker: the console needs the package {missing}: "
        "pip install 'fulfillment-worker[console]'\n"
    )


def test_console_token_that_is_unusable_is_never_shown(
    cli: Run, served: list[tuple[Settings, Options]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FULFILLMENT_CONSOLE_TOKEN", "short-one")
    result = cli("console")
    assert result.exit_code == 2
    assert "of 9 characters: give 16 or more" in result.stderr
    assert "short-one" not in result.stderr
    assert served == []


def test_token_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    by_file = {"FULFILLMENT_CONSOLE_TOKEN_FILE": str(file)}
    assert console_token({}) is None
    assert console_token({"FULFILLMENT_CONSOLE_TOKEN": " "}) is None
    assert console_token({"FULFILLMENT_CONSOLE_TOKEN": f" {TOKEN} "}) == TOKEN
    assert console_token(by_file) == TOKEN
    with pytest.raises(ValueError, match="both set"):
        console_token({**by_file, "FULFILLMENT_CONSOLE_TOKEN": TOKEN})
    file.write_text("\n")
    with pytest.raises(ValueError, match="it is empty"):
        console_token(by_file)
    file.unlink()
    with pytest.raises(ValueError, match="CONSOLE_TOKEN_FILE names a file that can't be used"):
        console_token(by_file)


def test_other_commands_know_the_variables_of_the_console(
    cli: Run, fake: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FULFILLMENT_CONSOLE_TOKEN", TOKEN)
    assert cli("queue").exit_code == 0
