"""The history of a round says what its witnesses saw, and what a dead primary took with it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from proofs.chaos import history
from proofs.chaos.ground import Injected
from proofs.chaos.history import History
from proofs.chaos.load import Placed
from proofs.chaos.record import Call
from proofs.chaos.seen import Seen
from proofs.chaos.witness import Told
from tests.simulation.checker import Checker
from tests.support.orders import Books

A, B = 101, 102


def call(pid: int, start: float, end: float, attempt: int = 1) -> Call:
    return Call(pid, pid - A, 1, "C-1", attempt, start, start, end, "ok")


def told(status: str, at: float, *, missed: bool = False) -> Told:
    return Told(status, at, 1, missed)


def make(
    monkeypatch: pytest.MonkeyPatch,
    events: list[Told],
    calls: list[Call],
    injected: list[Injected] | None = None,
    owner: int = A,
) -> list[dict[str, Any]]:
    """The history of one order that was placed at 1.0, and is fulfilled in the end."""
    books = Books(0, 0, 0, 0, 0, received=1, fulfilled=1, duplicates=0)
    monkeypatch.setattr(history, "books", lambda site: books)
    placed = {"C-1": Placed("C-1", b"{}", "", tried=1.0, at=1.001, sure=1)}
    ground = SimpleNamespace(
        producer=SimpleNamespace(placed=placed, settled={}, forgotten={}),
        fleet=SimpleNamespace(deeds=[], deaths={}, killed=set()),
        record=SimpleNamespace(calls=calls, by_order={"C-1": calls}, died={}),
        site=None,
    )
    seen = Seen({"C-1": ("fulfilled", f"host-{owner}-1")})
    lines: Any = History(ground, {"C-1": events}, injected or [], seen).lines()  # type: ignore[arg-type]
    return list(lines)


def broken(lines: list[dict[str, Any]]) -> list[str]:
    checker = Checker()
    for line in lines:
        checker.feed(line)
    return [violation.rule for violation in checker.finish()]


def test_history_names_who_began_and_who_fulfilled_an_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Redis tells the time in whole milliseconds: the end seems to be told before it happened.
    events = [told("processing", 2.0), told("fulfilled", 2.5)]
    lines = make(monkeypatch, events, [call(A, 2.0004, 2.5007)])
    assert [line["event"] for line in lines] == [
        *("rules", "enqueued", "heard", "status", "started", "ended", "status", "places", "end"),
    ]
    assert {line["worker"] for line in lines if "worker" in line} == {str(A)}
    assert not broken(lines)


def test_history_gives_back_the_order_of_a_dead_process_after_its_death(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis tells whole milliseconds, so a supervisor seems to have been quicker than death."""
    events = [told("processing", 2.0), told("retrying", 2.5)]
    events += [told("processing", 3.0), told("fulfilled", 3.5)]
    died = call(A, 2.0004, 2.5007)
    died.how = "died"
    lines = make(monkeypatch, events, [died, call(B, 3.0004, 3.5007)], owner=B)
    given_back = [line["t"] for line in lines if line.get("status") == "retrying"]
    assert not broken(lines)
    assert given_back == [pytest.approx(2.5007 + 1e-6, abs=1e-9)]


def test_history_shows_an_order_that_was_fulfilled_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [told("processing", 2.0), told("fulfilled", 2.5)]
    events += [told("processing", 4.0), told("fulfilled", 4.5)]
    calls = [call(A, 2.001, 2.4), call(B, 4.001, 4.4)]
    assert "final" in broken(make(monkeypatch, events, calls, owner=B))


def test_history_undoes_what_a_primary_took_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [told("processing", 2.0, missed=True), told("fulfilled", 2.5, missed=True)]
    events += [told("processing", 4.0), told("fulfilled", 4.5)]
    calls = [call(A, 2.001, 2.4), call(B, 4.001, 4.4)]
    kill = Injected("primary killed", 2.55, 3.5, forgetful=True, lost_at=2.6)
    assert not broken(make(monkeypatch, events, calls, [kill], owner=B))
    early = Injected("primary killed", 1.2, 3.5, forgetful=True, lost_at=1.3)
    assert "final" in broken(make(monkeypatch, events, calls, [early], owner=B))


def test_history_knows_of_a_begin_that_was_lost_before_it_was_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = [told("processing", 4.0), told("fulfilled", 4.5)]
    calls = [call(A, 2.55, 2.58), call(B, 4.001, 4.4)]
    kill = Injected("primary killed", 2.55, 3.5, forgetful=True, lost_at=2.6)
    assert not broken(make(monkeypatch, events, calls, [kill], owner=B))
    assert broken(make(monkeypatch, events, calls, owner=B)) == ["owned once"]
