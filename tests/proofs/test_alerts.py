"""Alerts come as notifications when their fault is there, and go with it.

A part of them; `make prove-alerts` proves all, and that healthy workers set off none for long.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fulfillment_worker.monitoring.alerts import ALERTS
from proofs.monitoring.faults import FAULTS
from proofs.monitoring.proof import WATCHDOG, prove_all, prove_watchdog, stay_healthy
from proofs.monitoring.watch import DOCS, Watch, documented
from tests.support.prometheus import program

SHORT = ("errors-fast", "no-worker", "unaccounted", "paused")


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with Watch(tmp_path / "watch") as running:
        yield running


def test_each_alert_has_a_fault_that_sets_it_off() -> None:
    proven = [name for fault in FAULTS for name in fault.alerts] + [WATCHDOG]
    assert sorted(proven) == sorted(alert.name for alert in ALERTS)


def test_the_table_of_the_docs_tells_of_each_fault() -> None:
    text = (DOCS / "monitoring.md").read_text()
    table = text.partition("### Proof by fault")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    told = {(row[0], row[1].strip("`"), row[2], row[4]) for row in rows[2:]}
    proven = {
        (fault.what, alert, f"1/{1 / fault.scale:.0f}", fault.mend)
        for fault in FAULTS
        for alert in fault.alerts
    }
    assert proven == {row for row in told if row[1] != WATCHDOG}
    assert len(told) == len(ALERTS)


def test_faults_are_notified_of_until_they_are_mended(watch: Watch, tmp_path: Path) -> None:
    faults = [fault for fault in FAULTS if fault.name in SHORT]
    proven, failed = prove_all(faults, watch, tmp_path, at_once=len(SHORT))
    assert not failed
    assert {each.alert for each in proven} == {name for fault in faults for name in fault.alerts}
    assert prove_watchdog(watch).alert == WATCHDOG


def test_healthy_workers_set_off_nothing(watch: Watch, tmp_path: Path) -> None:
    assert stay_healthy(watch, tmp_path, 8) == []


def test_the_configurations_of_the_docs_are_accepted(tmp_path: Path) -> None:
    for tool, command, key in (
        ("promtool", ["check", "config"], "scrape_configs"),
        ("amtool", ["check-config"], "receivers"),
    ):
        path = tmp_path / f"{tool}.yml"
        path.write_text(yaml.safe_dump(documented(key)))
        done = subprocess.run(
            [program(tool), *command, str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
