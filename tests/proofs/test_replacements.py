"""Processes replaced one after another. More of them: `python -m proofs.replacements 1000`."""

from __future__ import annotations

from pathlib import Path

from proofs.replacements.run import replace
from tests.support.redis_server import RedisServer


def test_no_counter_falls_and_no_series_comes_or_goes(redis_7: RedisServer, tmp_path: Path) -> None:
    found = replace(redis_7, tmp_path / "worker", 7, seats=2)
    assert found.fell == []
    assert not found.came | found.went
    assert found.replaced >= 7
    assert found.killed >= 1
    assert found.scrapes > 5
    assert 0 < found.counted <= found.fulfilled
    assert found.series > 300, "those of one process, and a few dozen for each"
