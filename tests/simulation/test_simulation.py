"""Worlds are the same again by their seeds, break no rule, and find planted bugs."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.checker import Violation, check
from tests.simulation.hunt import hunt
from tests.simulation.mutants import SOURCE, Mutant, mutants, plant
from tests.simulation.pool import servers
from tests.simulation.regressions import REGRESSIONS, Regression
from tests.simulation.server import Server
from tests.simulation.shrink import shrunk
from tests.simulation.story import told
from tests.simulation.world import Outcome, run_world

SEEDS = range(1, 17)
FOUND_SOON = (
    "an event is told twice",
    "an order that comes wakes nobody",
    "deliveries of two exchanges get the same numbers",
    "a wish is overtaken by a retry",
    "a held order is forgotten at its release",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with servers() as server:
        yield server


@pytest.mark.parametrize("seed", SEEDS)
def test_world_keeps_every_promise(server: Server, seed: int) -> None:
    outcome = run_world(server, seed)
    assert not outcome.violations, f"make simulate SEED={seed} ARGS=--trace"


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda regression: regression.was)
def test_regression_of_a_world(server: Server, regression: Regression) -> None:
    only = frozenset(regression.only.split()) if regression.only else None
    assert not run_world(server, regression.seed, only=only).violations


def test_same_seed_is_the_same_world(server: Server) -> None:
    first = run_world(server, 3, keep=True)
    run_world(server, 4)
    again = run_world(server, 3, keep=True)
    assert (first.lines, first.hash, first.happened) == (again.lines, again.hash, again.happened)
    assert len(first.happened) > 20
    assert not check(first.lines)
    assert all(told(line) for line in first.lines)


def test_same_seed_is_the_same_world_whatever_its_server_did_before(server: Server) -> None:
    """The ids of its clients have more digits by then."""
    first = run_world(server, 4)
    for _ in range(1000):
        server.connect()[0].close()
    assert run_world(server, 4).hash == first.hash


class Dripping(socket.socket):
    """Sends little at a time: the server reads each piece in a round of its own."""

    server: Server

    def sendall(self, data: Any, *_: Any) -> None:
        for start in range(0, len(data), 50):
            super().sendall(data[start : start + 50])
            self.server.control.ask(("PING",))


def test_same_seed_is_the_same_world_in_however_many_pieces_its_server_reads(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_world(server, 4)
    connect = server.connect

    def connect_dripping() -> tuple[socket.socket, int]:
        real, number = connect()
        dripping = Dripping(fileno=real.detach())
        dripping.server = server
        dripping.setblocking(False)
        return dripping, number

    monkeypatch.setattr(server, "connect", connect_dripping)
    assert run_world(server, 4).hash == first.hash


def test_faults_that_are_taken_away_do_not_happen(server: Server) -> None:
    some = frozenset(run_world(server, 3).happened[::3])
    assert set(run_world(server, 3, only=some).happened) <= some
    assert run_world(server, 3, only=frozenset()).happened == []


def test_shrinking_leaves_the_faults_that_are_needed() -> None:
    faults = [f"fault {number}" for number in range(40)]

    def run(only: frozenset[str] | None) -> Outcome:
        happened = [each for each in faults if only is None or each in only]
        broken = (
            [Violation("kept", 1.0, "it is gone")] if {faults[7], faults[31]} <= {*happened} else []
        )
        # Without the last, another rule is broken: that is another fault.
        other = [] if faults[39] in happened or broken else [Violation("live", 1.0, "it waits")]
        return Outcome(1, "", broken or other, happened, 1.0, [])

    tried: list[int] = []
    found = shrunk(run, None, lambda left, _: tried.append(left))
    assert found == ([faults[7], faults[31]], Violation("kept", 1.0, "it is gone"))
    assert len(tried) < 100
    assert shrunk(lambda only: run(frozenset(faults[39:])), None, lambda *_: None) is None


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_planted_bug_fits_the_code(mutant: Mutant, tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    plant(mutant, package)


@pytest.mark.parametrize("name", FOUND_SOON)
def test_planted_bug_is_found_by_a_world(name: str) -> None:
    (mutant,) = (each for each in mutants() if each.name == name)
    found = hunt(mutant, 60)
    assert found.rule not in ("", "crash"), found
