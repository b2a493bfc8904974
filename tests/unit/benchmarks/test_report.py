"""The page of figures is filled from what was found last."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.kit import figures
from benchmarks.kit.figures import Report
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
