"""Rules and alerts name what there is, for any deployment; what is checked in is what is made."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fulfillment_worker.monitoring.alert import AlertSeverity
from fulfillment_worker.monitoring.alerts import ALERTS, alerts
from fulfillment_worker.monitoring.rules import rules
from fulfillment_worker.monitoring.target import Target
from fulfillment_worker.monitoring.tickets import declared_series
from fulfillment_worker.monitoring.write import files
from fulfillment_worker.observability.catalogue import CATALOGUE
from fulfillment_worker.observability.spec import MetricKind
from fulfillment_worker.supervisor.merge import Seat
from fulfillment_worker.supervisor.merged_metrics import Merged
from tests.support.prometheus import program
from tests.unit.observability.support import new_metrics

ROOT = Path(__file__).parents[3]
SHOP = Target(
    job='shop "two"\\',
    selectors=(("namespace", "a$1b"), ("cluster", "north")),
    queues=("rush", "orders"),
    error_objective=95,
    late_objective=99.5,
    late_after=300,
    runbooks="https://wiki.example/runbooks",
)
NONE_AT_TIMES = Target(scaled_object="shop")
SHORT = Target(scale=1 / 60, late_after=1)
TARGETS = pytest.mark.parametrize(
    "target",
    [Target(), SHOP, SHORT, NONE_AT_TIMES],
    ids=["default", "shop", "short", "none at times"],
)
KEDA = "keda_scaler_metrics_value"
OWN = {"up", "scrape_samples_post_metric_relabeling"}


def every_rule(target: Target) -> list[dict[str, Any]]:
    groups = rules(target)["groups"] + alerts(target)["groups"]
    return [rule for group in groups for rule in group["rules"]]


def known() -> set[str]:
    names = {spec.name for spec in CATALOGUE if spec.kind is not MetricKind.HISTOGRAM}
    for spec in CATALOGUE:
        if spec.kind is MetricKind.HISTOGRAM:
            names |= {f"{spec.name}_{part}" for part in ("bucket", "count", "sum")}
    return names


def rule_files(target: Target, *, operator: bool = False) -> dict[str, str]:
    """Those for Prometheus, without the dashboards."""
    made = files(target, operator=operator)
    return {name: text for name, text in made.items() if name.endswith(".yaml")}


@TARGETS
def test_promtool_has_nothing_to_say(target: Target, tmp_path: Path) -> None:
    for name, text in rule_files(target).items():
        (tmp_path / name).write_text(text)
    command = [program("promtool"), "check", "rules", "--lint=all", "--lint-fatal"]
    done = subprocess.run(
        [*command, *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("SUCCESS") == 2


@TARGETS
def test_every_series_named_exists_and_is_the_deployments(target: Target) -> None:
    recorded = {rule["record"] for rule in every_rule(target) if "record" in rule}
    own = target.of("")
    for rule in every_rule(target):
        selected = re.findall(r"([a-zA-Z_:][\w:]*)(\{.*)", rule["expr"].replace(own, own + "\n"))
        for name, labels in selected:
            if name == KEDA and target.scaled_object:
                assert labels.startswith('{scaledObject="shop"}')
                continue
            assert name in known() | OWN | recorded, rule
            assert labels.startswith(own[:-1]), (name, labels)
    assert len(recorded) > 30


@TARGETS
def test_rules_are_recorded_before_they_are_read(target: Target) -> None:
    for group in rules(target)["groups"]:
        seen: set[str] = set()
        names = {rule["record"] for rule in group["rules"]}
        for rule in group["rules"]:
            read = {name for name in names if name + "{" in rule["expr"]}
            assert read <= seen, rule
            seen.add(rule["record"])


def test_depths_of_one_queue_are_never_summed_over_workers() -> None:
    for rule in every_rule(Target()):
        assert not re.search(r"(sum|count|avg) [^{]*fulfillment_\w+_depth\{", rule["expr"]), rule


def test_aggregations_keep_the_labels_that_route() -> None:
    for rule in every_rule(SHOP):
        assert not re.search(r"\bby\b", rule["expr"]), rule


def test_buckets_are_matched_as_either_client_writes_them() -> None:
    expressions = [rule["expr"] for rule in every_rule(Target())]
    matchers = {found for each in expressions for found in re.findall(r'\ble\W+".*?"', each)}
    assert matchers == {'le=~"60|60[.]0"'}


def test_objectives_set_the_thresholds() -> None:
    by_name = {rule["alert"]: rule["expr"] for rule in every_rule(SHOP) if "alert" in rule}
    assert re.findall(r"> (0\.\d+)", by_name["FulfillmentErrorBudgetBurningFast"]) == [
        "0.72",
        "0.72",
        "0.3",
        "0.3",
    ]
    assert re.findall(r"> (0\.\d+)", by_name["FulfillmentLateBudgetBurningSlowly"]) == [
        "0.005",
        "0.005",
    ]
    assert 'le=~"300|300[.]0"' in str(rules(SHOP))


def test_windows_are_shortened_everywhere() -> None:
    long = re.compile(r"\[\d+[smhd]\]")
    for rule in every_rule(SHORT):
        assert not long.search(rule["expr"]), rule
        assert rule.get("for", "1ms").endswith("ms"), rule
    assert any(long.search(rule["expr"]) for rule in every_rule(Target()))


def test_every_alert_says_whom_it_wakes_and_what_customers_notice() -> None:
    names = [alert.name for alert in ALERTS]
    assert len(set(names)) == len(names) == 25
    for alert in ALERTS:
        assert re.fullmatch(r"Fulfillment([A-Z][a-z]+)+", alert.name)
        assert alert.summary.endswith(".")
        assert alert.description
    assert sum(alert.severity is AlertSeverity.PAGE for alert in ALERTS) == 8
    assert [alert.name for alert in ALERTS if alert.severity is AlertSeverity.NONE] == [
        "FulfillmentWatchdog"
    ]


def test_alerts_lead_to_the_runbooks_of_the_deployment() -> None:
    urls = [rule["annotations"]["runbook_url"] for rule in every_rule(SHOP) if "alert" in rule]
    assert all(url.startswith("https://wiki.example/runbooks#fulfillment") for url in urls)


def test_a_worker_of_more_queues_may_have_more_series() -> None:
    one, two = declared_series(1), declared_series(2)
    assert 0 < two - one < 20
    # The default threshold is twice that.
    many = Target(queues=tuple(f"q{n}" for n in range(40)))
    assert str(many) != str(Target())
    limits = [
        int(re.findall(r"> (\d+)$", rule["expr"])[0])
        for target in (Target(), many)
        for rule in every_rule(target)
        if rule.get("alert") == "FulfillmentTooManySeries"
    ]
    assert limits[0] >= 2 * one
    assert limits[1] >= 2 * declared_series(40)


def test_a_worker_of_several_processes_may_have_more_series() -> None:
    """As many as its page has, for which see tests/unit/observability/test_merge.py."""
    seats = {str(number): Seat() for number in range(4)}
    merged = Merged(new_metrics().registry, lambda: seats)
    shown = sum(len(family.samples) for family in merged.collect())
    # What tells of a process that runs is not there yet: a dozen for each.
    assert shown < declared_series(1, processes=4) < shown + 4 * 20
    assert declared_series(1, processes=4) > declared_series(1, processes=1) > declared_series(1)


def test_what_is_checked_in_is_what_is_made() -> None:
    for name, text in files(Target()).items():
        path = ROOT / "monitoring" / name
        assert path.read_text() == text, f"{path} is stale; run: make monitoring"


def test_the_operators_resource_has_the_same_groups() -> None:
    (resource,) = map(yaml.safe_load, rule_files(SHOP, operator=True).values())
    assert resource["kind"] == "PrometheusRule"
    assert resource["metadata"]["name"] == "shop-two"
    apart = [yaml.safe_load(text)["groups"] for text in rule_files(SHOP).values()]
    assert resource["spec"]["groups"] == [group for groups in apart for group in groups]
    names = [group["name"] for group in resource["spec"]["groups"]]
    assert len(set(names)) == len(names)
