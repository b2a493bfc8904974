"""The unit tests of the alerts, by promtool: each alert fires where it should, and only there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fulfillment_worker.monitoring.alerts import ALERTS
from fulfillment_worker.monitoring.target import Target
from fulfillment_worker.monitoring.write import files
from proofs.monitoring.cases import CASES, SHORT_WINDOWS
from proofs.monitoring.rule_tests import FOLDER, document, documents
from tests.support.prometheus import program

ROOT = Path(__file__).parents[2]
# It always fires: there is no case in which it doesn't.
ALWAYS = {"FulfillmentWatchdog"}


def test_what_is_checked_in_is_what_the_cases_say() -> None:
    assert set(documents()) == {path.name for path in (ROOT / FOLDER).iterdir()}
    for name, text in documents().items():
        assert (ROOT / FOLDER / name).read_text() == text, f"{name} is stale; run: make monitoring"


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    names = {alert.name for alert in ALERTS}
    assert {case.alert for case in CASES if case.fires} == names
    assert {case.alert for case in CASES if not case.fires} == names - ALWAYS


@pytest.mark.parametrize("name", documents())
def test_promtool_agrees(name: str) -> None:
    done = run(ROOT / FOLDER / name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.parametrize(
    ("alert", "expression", "instead"),
    [
        ("FulfillmentErrorBudgetBurningFast", "* 3600 >= 50", "* 3600 >= 0"),
        ("FulfillmentOldestOrderTooOld", "> 300", "> 30000"),
        ("FulfillmentNoWorkerUp", "absent(", "0 * absent_over_time("),
    ],
)
def test_a_wrong_alert_is_seen(tmp_path: Path, alert: str, expression: str, instead: str) -> None:
    rules = ROOT / "monitoring"
    text = (rules / "alerts.yaml").read_text()
    assert expression in text
    (tmp_path / "alerts.yaml").write_text(text.replace(expression, instead))
    (tmp_path / "rules.yaml").write_text((rules / "rules.yaml").read_text())
    cases = [case for case in SHORT_WINDOWS if case.alert == alert]
    (tmp_path / "tests.yaml").write_text(document(cases, "1m").replace("../", ""))
    assert run(tmp_path / "tests.yaml").returncode != 0


@pytest.mark.parametrize(
    ("series", "fires"),
    [
        ({'keda_scaler_metrics_value{scaledObject="shop"}': "0x20"}, False),
        ({'keda_scaler_metrics_value{scaledObject="shop"}': "0x15 9x4"}, False),
        ({'keda_scaler_metrics_value{scaledObject="shop"}': "9x20"}, True),
        ({'keda_scaler_metrics_value{scaledObject="other"}': "9x20"}, False),
        ({'up{job="fulfillment-worker",instance="a"}': "0x20"}, True),
        ({'up{job="fulfillment-worker",instance="a"}': "1x20"}, False),
    ],
    ids=["nothing waits", "since just now", "waits", "elsewhere", "down", "up"],
)
def test_no_worker_is_an_alert_where_a_scaler_takes_the_last_only_while_orders_wait(
    tmp_path: Path, series: dict[str, str], fires: bool
) -> None:
    for name, text in files(Target(scaled_object="shop")).items():
        if name.endswith(".yaml"):
            (tmp_path / name).write_text(text)
    alert = "FulfillmentNoWorkerUp"
    case = next(each for each in CASES if each.alert == alert and each.fires)
    expected = case._replace(series=series, at="18m", fires=case.fires if fires else ())
    (tmp_path / "tests.yaml").write_text(document([expected], "1m").replace("../", ""))
    done = run(tmp_path / "tests.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def run(path: Path) -> subprocess.CompletedProcess[str]:
    command = [program("promtool"), "test", "rules", path.name]
    return subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
