"""promtool's unit tests, made of the cases: `python -m proofs.monitoring.rule_tests`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fulfillment_worker.monitoring.alerts import ALERTS, alerts
from fulfillment_worker.monitoring.document import yaml
from fulfillment_worker.monitoring.rules import rules
from fulfillment_worker.monitoring.target import Target
from proofs.monitoring.case import Case
from proofs.monitoring.cases import SHORT_WINDOWS
from proofs.monitoring.cases_budgets import LONG_WINDOWS

FOLDER = Path("monitoring/tests")
_HEAD = "# Made of proofs/monitoring/cases.py: `make monitoring`. Run: promtool test rules FILE\n"


def documents() -> dict[str, str]:
    """File in FOLDER -> content."""
    return {
        "alerts.yaml": document(SHORT_WINDOWS, "1m"),
        "long-windows.yaml": document(LONG_WINDOWS, "5m"),
    }


def document(cases: Iterable[Case], step: str) -> str:
    """Of these cases, with one value each `step`."""
    groups = rules(Target())["groups"] + alerts(Target())["groups"]
    content = {
        "rule_files": ["../rules.yaml", "../alerts.yaml"],
        "evaluation_interval": step,
        "group_eval_order": [group["name"] for group in groups],
        "tests": [_test(case, step) for case in cases],
    }
    return _HEAD + yaml(content)


def _test(case: Case, step: str) -> dict[str, Any]:
    (alert,) = (each for each in ALERTS if each.name == case.alert)
    target = Target()
    own = {"job": target.job, "severity": str(alert.severity)}
    annotations = {
        "summary": alert.summary,
        "runbook_url": f"{target.runbooks}#{alert.anchor}",
    }
    expected = [
        {
            "exp_labels": own | dict(each.labels),
            "exp_annotations": annotations | {"description": each.description},
        }
        for each in case.fires
    ]
    return {
        "name": f"{case.alert} {'fires' if case.fires else 'is silent'}: {case.why}",
        "interval": step,
        **({"input_series": _series(case)} if case.series else {}),
        "alert_rule_test": [
            {
                "eval_time": case.at,
                "alertname": case.alert,
                **({"exp_alerts": expected} if expected else {}),
            }
        ],
    }


def _series(case: Case) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in case.series.items()]


if __name__ == "__main__":
    for name, text in documents().items():
        (FOLDER / name).write_text(text)
