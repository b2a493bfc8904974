"""Small runs of the benchmarks, so that they still run when they are needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ceiling, drain, durable, limits, memory, pickup, scrape
from benchmarks.kit import figures
from benchmarks.kit.arrivals import arrivals, waits
from benchmarks.kit.drain import drain as drain_once
from benchmarks.kit.ground import ground
from benchmarks.kit.subject import Ours, Work


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    return tmp_path


def _saved(results: Path, name: str) -> dict[str, Any]:
    saved: dict[str, Any] = json.loads((results / f"{name}.json").read_text())
    return saved


def test_the_drain_tells_rates_and_cpu_of_each(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drain.main(["--orders", "3000", "--at-once", "50", "--rounds", "1"])
    told, rows = capsys.readouterr().out, _saved(results, "drain")["rows"]
    assert list(rows) == [
        "fulfillment-worker, 50 at once",
        "fulfillment-worker, 50 at once, appendonly everysec",
        "naive BRPOP loop",
    ]
    for name, row in rows.items():
        assert f"| {name} " in told
        assert row["rate"][0] > 0
        # A second of one core has a million microseconds; the rest is for a test that is held up
        # between two looks.
        assert 0 < row["rate"][0] * row["worker_cpu"][0] < 2e6
        assert 0 < row["rate"][0] * row["redis_cpu"][0] < 2e6
        assert row["memory"][0] > 10


def test_a_durable_redis_is_measured_beside_the_promised_writes_alone(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    durable.main(["--orders", "3000", "--rounds", "1"])
    assert f"{durable.PROMISES}: " in capsys.readouterr().out
    rows = _saved(results, "durable")["rows"]
    assert len(rows) == 6
    for name in (durable.PROMISES, durable.PROMISES + durable.SUFFIX):
        assert rows[name]["rate"][0] > 0
        assert rows[name]["redis_cpu"][0] > 0


def test_the_ceiling_replays_what_a_worker_said(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ceiling.main(["--orders", "8000", "--at-once", "100", "--rounds", "1"])
    assert "100 at once" in capsys.readouterr().out
    assert _saved(results, "ceiling")["rows"][ceiling.NAME]["rate"][0] > 0


def test_pickup_tells_each_wait(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pickup.main(["--orders", "3", "--rounds", "1"])
    assert "fulfillment-worker" in capsys.readouterr().out
    for row in _saved(results, "pickup")["rows"].values():
        assert len(row["waits"]) == 3
        assert all(wait > 0 for wait in row["waits"])


def test_memory_and_scrapes_are_told(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory.main(["--first", "1000", "--orders", "2000"])
    assert all(mib > 10 for mib in _saved(results, "memory")["mib"].values())
    assert len(scrape.under_load(40_000, 1)) == 1
    assert "after 2,000" in capsys.readouterr().out


def test_a_worker_that_ends_is_no_figure() -> None:
    with ground() as here, pytest.raises(RuntimeError, match="No such option"):
        drain_once(Ours(options=("--no-such-flag",)), here, Work("noop", 1000))


def test_latency_of_orders_that_arrive_at_random_counts_from_when_each_is_due() -> None:
    due = arrivals(rate=50, seconds=4, seed=1)
    assert due == arrivals(rate=50, seconds=4, seed=1) == sorted(due)
    assert 150 < len(due) < 250
    with ground() as here:
        found = waits(Ours(), here, Work("arrived", len(due) + 1), due)
    assert len(found) == len(due) - int(0.1 * len(due))
    assert all(wait > 0 for wait in found)


def test_limits_are_measured_with_what_a_key_takes(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits.main(["--orders", "2000", "--keys", "200", "--used", "1000"])
    assert "bytes are left when all have ended" in capsys.readouterr().out
    saved = _saved(results, "limits")
    assert len(saved["orders_per_second"]) == 5
    assert all(rate > 0 for rate in saved["orders_per_second"].values())
    # What the docs say of a key.
    assert 0 < saved["bytes"]["held"] < 300
    assert 0 < saved["bytes"]["parked"] < 300
    assert saved["bytes"]["left"] == 0
