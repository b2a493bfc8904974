"""Hostile entries through the whole path. More of them: `python -m proofs.fuzz 1000000`."""

from __future__ import annotations

from pathlib import Path

from proofs.fuzz.attack import attack
from tests.support.redis_server import RedisServer


def test_hostile_entries_are_fulfilled_or_kept_to_the_byte(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    found = attack(redis_server, tmp_path / "worker", seed=7, many=5000)
    assert found.lost == []
    assert found.changed == []
    assert found.restarts == 0
    assert found.fulfilled + found.duplicates + found.dead == found.pushed
    assert found.fulfilled > 1000
    assert found.dead > 1000
