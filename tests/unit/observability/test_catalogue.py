"""The catalogue, the page that it makes, and what every scrape shows from the first on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser

from fulfillment_worker.core.outcome import DeadReason, FailureReason
from fulfillment_worker.observability import metrics_page
from fulfillment_worker.observability.catalogue import CATALOGUE, LOG_LEVELS, WorkerState
from fulfillment_worker.observability.spec import MetricKind, MetricSpec
from tests.unit.observability.support import attempt, new_metrics, openmetrics, page, series, value

_ROOT = Path(__file__).parents[3]
_LE = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf"]


def _promtool(text: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool") is None:
        pytest.fail("promtool is missing: apt-get install prometheus")
    command = ["promtool", "check", "metrics"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_the_reference_page_is_up_to_date() -> None:
    page_file = _ROOT / "docs" / "metrics.md"
    command = "python -m fulfillment_worker.observability.metrics_page > docs/metrics.md"
    assert page_file.read_text() == metrics_page.render(), f"stale; run: {command}"


@pytest.mark.parametrize("queues", [("orders",), ("orders", "express")])
def test_the_page_has_the_metrics_of_the_catalogue_and_no_others(queues: tuple[str, ...]) -> None:
    lines = page(new_metrics(*queues)).splitlines()
    shown = {tuple(line.split(" ")[2:4]) for line in lines if line.startswith("# TYPE ")}
    assert shown == {(spec.name, spec.kind.value) for spec in CATALOGUE}


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_help_and_labels_are_those_of_the_catalogue(spec: MetricSpec) -> None:
    registry = new_metrics().registry
    family_name = spec.name.removesuffix("_total")
    (family,) = [family for family in registry.collect() if family.name == family_name]
    labels = {frozenset(sample.labels) - {"le"} for sample in family.samples}
    assert family.documentation == spec.help
    assert labels == {frozenset(spec.labels)}


@pytest.mark.parametrize("queues", [("orders",), ("orders", "express")])
def test_promtool_has_nothing_to_say(queues: tuple[str, ...]) -> None:
    checked = _promtool(page(new_metrics(*queues)))
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_error_series_start_at_zero() -> None:
    metrics = new_metrics()
    assert value(metrics, "orders_processed_total", status="success") == 0
    assert value(metrics, "orders_processed_total", status="error") == 0
    assert value(metrics, "order_processing_duration_seconds_count", status="error") == 0
    for reason in FailureReason:
        assert value(metrics, "order_failures_total", reason=reason) == 0
    for dead in DeadReason:
        assert value(metrics, "orders_dead_lettered_total", reason=dead) == 0
    for level in LOG_LEVELS:
        assert value(metrics, "fulfillment_log_messages_total", level=level) == 0
    assert (
        value(metrics, "fulfillment_redis_commands_total", operation="wait", outcome="error") == 0
    )
    assert value(metrics, "fulfillment_observer_faults_total") == 0


def test_every_known_label_value_has_its_series() -> None:
    metrics = new_metrics()
    shown = series(metrics)
    for spec in CATALOGUE:
        if spec.kind is not MetricKind.HISTOGRAM and len(spec.values) == 1:
            expected = {f'{spec.name}{{{spec.labels[0]}="{v}"}}' for v in spec.values[0]}
            assert expected <= shown
    assert {f'fulfillment_worker_state{{state="{state}"}}' for state in WorkerState} <= shown


def test_there_are_no_created_series() -> None:
    metrics = new_metrics()
    metrics.observe(attempt())
    assert "_created" not in page(metrics)
    assert "_created" not in openmetrics(metrics)


def test_the_buckets_of_the_processing_time() -> None:
    prefix = 'order_processing_duration_seconds_bucket{le="'
    shown = [name for name in page(new_metrics()).splitlines() if name.startswith(prefix)]
    success = [name[len(prefix) :].split('"')[0] for name in shown if 'status="success"' in name]
    assert success == _LE


def test_lateness_has_a_bucket_of_its_own() -> None:
    """The objective is 60 s: without a bound there, no rule could count late orders."""
    assert 'order_end_to_end_duration_seconds_bucket{le="60.0"}' in series(new_metrics())


def test_the_page_is_valid_openmetrics() -> None:
    metrics = new_metrics()
    metrics.observe(attempt(trace_id="a" * 32))
    families = list(parser.text_string_to_metric_families(openmetrics(metrics)))  # type: ignore[no-untyped-call]
    assert len(families) == len(CATALOGUE)


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_a_metric_is_explained(spec: MetricSpec) -> None:
    assert spec.help
    assert spec.why
    assert (spec.buckets != ()) == (spec.kind is MetricKind.HISTOGRAM)
    assert len(spec.values) in (0, len(spec.labels))
    assert spec.name.endswith("_total") == (spec.kind is MetricKind.COUNTER)
