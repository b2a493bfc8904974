"""A bar only where somebody watches, and there is something to watch."""

from __future__ import annotations

import pytest

from fulfillment_worker.cli.progress import progress


@pytest.mark.parametrize(("terminal", "total"), [(False, 100), (True, 9)])
def test_there_is_no_bar_for_nobody_or_for_little(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool, total: int
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    with progress("Checking", total, worth=10) as advance:
        advance(total)
    assert capsys.readouterr().err == ""


def test_the_bar_is_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")  # a dumb terminal has no bar either
    with progress("Checking", 100, worth=10) as advance:
        advance(100)
    captured = capsys.readouterr()
    assert "Checking" in captured.err
    assert captured.out == ""
