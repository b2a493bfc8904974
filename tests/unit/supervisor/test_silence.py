"""A child that gives no sign is ended; one that could give none isn't."""

from __future__ import annotations

from pathlib import Path

import pytest

from fulfillment_worker.supervisor.silence import LOOK, Silences, stopped


class Watched:
    """Silences under a clock of the test's own; the child is named `a`."""

    def __init__(self, lease: float = 10.0) -> None:
        self.now = 1000.0
        self.turned = self.now
        self.is_stopped = False
        self.silences = Silences[str](lease, lambda _: self.is_stopped, lambda: self.now)

    def look(self, after: float = LOOK, *, turns: bool = False) -> list[str]:
        self.now += after
        if turns:
            self.turned = self.now
        return self.silences.look({"a": self.turned})

    def silent_for(self, seconds: float) -> list[str]:
        """Those that were to be ended, at any of the looks."""
        return [child for _ in range(round(seconds / LOOK)) for child in self.look()]


def test_silence_longer_than_the_lease_is_noticed_once() -> None:
    watched = Watched()
    assert watched.silent_for(10) == []
    assert watched.silent_for(2) == ["a"]


def test_silence_ends_with_a_turn_of_the_loop() -> None:
    watched = Watched()
    for _ in range(10):
        assert watched.silent_for(9) == []
        assert watched.look(turns=True) == []


def test_silence_is_measured_while_the_supervisor_itself_runs() -> None:
    watched = Watched()
    assert watched.silent_for(9) == []
    assert watched.look(3600.0) == [], "both were stopped for an hour"
    assert watched.silent_for(2) == ["a"]


def test_silence_while_stopped_on_purpose_counts_for_nothing() -> None:
    """Also in the moment after it goes on, when it has not reported yet."""
    watched = Watched()
    watched.is_stopped = True
    assert watched.silent_for(3600) == []
    watched.is_stopped = False
    assert watched.silent_for(10) == []
    assert watched.silent_for(2) == ["a"]


def test_silence_of_five_seconds_is_none_however_short_the_lease() -> None:
    watched = Watched(lease=0.5)
    assert watched.silent_for(5) == []
    assert watched.silent_for(1) == ["a"]


def test_child_that_is_gone_is_forgotten() -> None:
    watched = Watched()
    watched.silent_for(9)
    assert watched.silences.look({}) == []
    assert watched.silent_for(9) == []


@pytest.mark.parametrize(
    ("stat", "is_stopped"),
    [
        ("7 (python) S 1 7", False),
        ("7 (python) T 1 7", True),
        ("7 (a) T (b) t 1 7", True),
        ("7 (T) R 1 7", False),
        ("", False),
    ],
)
def test_child_that_was_stopped_on_purpose_is_known(
    tmp_path: Path, stat: str, is_stopped: bool
) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(stat)
    assert stopped(7, tmp_path) is is_stopped


def test_child_that_has_ended_was_not_stopped(tmp_path: Path) -> None:
    assert not stopped(7, tmp_path)
