"""The dashboards are what the code makes, what Grafana knows, and whole."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from enum import Enum
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from fulfillment_worker.monitoring.alert import AlertSeverity
from fulfillment_worker.monitoring.alerts import ALERTS
from fulfillment_worker.monitoring.dashboards import as_text, dashboards, rows
from fulfillment_worker.monitoring.dashboards.page import STORY, picture, render
from fulfillment_worker.monitoring.dashboards.panel import Panel, PanelKind
from fulfillment_worker.monitoring.rules import rules as recording_rules
from fulfillment_worker.monitoring.target import Target
from fulfillment_worker.observability.catalogue import CATALOGUE
from fulfillment_worker.observability.spec import MetricKind
from proofs.panels.story import CHAPTERS

ROOT = Path(__file__).parents[3]
PLAIN = Target()
OTHER = Target(
    job="shop/orders",
    selectors=(("namespace", "shop"), ("cluster", 'a "b"')),
    queues=("rush", "orders"),
    error_objective=99.5,
    late_after=120.0,
    runbooks="https://wiki.example/runbooks",
)
TARGETS = pytest.mark.parametrize("target", [PLAIN, OTHER], ids=["default", "other"])
PANELS = [panel for row in rows(PLAIN) for panel in row.panels]
TITLES = {panel.title for panel in PANELS}

# Of Prometheus, not of the worker.
OF_PROMETHEUS = {"up", "ALERTS", "scrape_duration_seconds", "scrape_samples_scraped"}
# Metrics that no panel shows, and why.
NOT_SHOWN = {
    "fulfillment_outstanding_orders": "the sum of three depths that are shown",
    "fulfillment_scheduled_depth": "they wait by wish, and nothing is to be done",
    "fulfillment_held_depth": "`queue` tells it, and `status` who holds each of them",
    "orders_held_total": "an act of an operator, which the audit tells",
    "orders_cancelled_total": "an act of an operator, which the audit tells",
    "orders_postponed_total": "what a handler wishes is no fault; `status` tells of each order",
    "fulfillment_limit": "few set any; `fulfillment-worker limit` shows them",
    "fulfillment_limit_used": "likewise, beside the limit",
    "fulfillment_breaker_openings_total": "the panel shows when, and the runbook asks why",
    "process_virtual_memory_bytes": "address space; seldom of interest",
    "python_gc_objects_collected_total": "the pauses tell more",
    "python_gc_objects_uncollectable_total": "leaks show in the allocated blocks",
}
# What Grafana's plugin for Prometheus reads from an annotation, though the SDK's types lack it.
UNKNOWN_TO_THE_SDK = {"annotations.list[].textFormat", "annotations.list[].titleFormat"}


def fleet(target: Target = PLAIN) -> dict[str, Any]:
    """The one dashboard, as it comes out of its file."""
    ((name, content),) = dashboards(target).items()
    assert name == "fulfillment-worker.json"
    parsed: dict[str, Any] = json.loads(as_text(content))
    return parsed


def graphs(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels without the headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(target: Target = PLAIN) -> list[str]:
    return [query["expr"] for panel in graphs(fleet(target)) for query in panel["targets"]]


# --- checked in -----------------------------------------------------------------------------------


def test_the_files_are_up_to_date() -> None:
    made = {name: as_text(content) for name, content in dashboards(PLAIN).items()}
    folder = ROOT / "monitoring" / "dashboards"
    kept = {file.name: file.read_text() for file in folder.glob("*")}
    assert kept == made, "stale; run: make monitoring"


def test_a_process_makes_the_same_as_another() -> None:
    source = (
        "from fulfillment_worker.monitoring.dashboards import *\n"
        "from fulfillment_worker.monitoring.target import Target\n"
        "import sys; sys.stdout.write(as_text(dashboards(Target())['fulfillment-worker.json']))"
    )
    for seed in ("1", "2"):
        command = [sys.executable, "-c", source]
        env = {"PYTHONHASHSEED": seed}
        made = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert made.stdout == as_text(dashboards(PLAIN)["fulfillment-worker.json"])


def test_the_page_is_up_to_date() -> None:
    command = "python -m fulfillment_worker.monitoring.dashboards.page > docs/dashboards.md"
    assert (ROOT / "docs" / "dashboards.md").read_text() == render(), f"stale; run: {command}"


def test_every_panel_has_a_picture_and_they_are_small() -> None:
    pictures = {file.name: file for file in (ROOT / "docs" / "dashboards").iterdir()}
    missing_or_left_over = pictures.keys() ^ {picture(title) for title in TITLES}
    assert not missing_or_left_over, "run: make panels"
    for file in pictures.values():
        assert file.read_bytes().startswith(b"\x89PNG")
    assert sum(file.stat().st_size for file in pictures.values()) < 2**20


def test_the_story_of_the_pictures_is_the_one_that_is_told() -> None:
    assert [chapter.mark for chapter in CHAPTERS] == list(STORY)


# --- what Grafana knows ---------------------------------------------------------------------------


def parsed(dashboard: dict[str, Any]) -> Dashboard:
    register_default_plugins()
    return Dashboard.from_json(json.loads(json.dumps(dashboard)))


def lost(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Where `given` says something that `kept` doesn't say, or says differently."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            yield from lost(value, kept.get(key), f"{path}.{key}".removeprefix("."))
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for value, other in zip(given, kept, strict=True):
            yield from lost(value, other, f"{path}[]")
    elif given != kept:
        yield path


@TARGETS
def test_grafanas_own_types_know_every_field(target: Target) -> None:
    dashboard = fleet(target)
    kept = json.loads(json.dumps(parsed(dashboard), cls=JSONEncoder))
    assert set(lost(dashboard, kept)) == UNKNOWN_TO_THE_SDK


def wrong_words(value: Any, path: str = "dashboard") -> Iterator[str]:
    """Values that are not among those that the type of their field has."""
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from wrong_words(item, path)
    elif type(value).__module__.startswith("grafana_foundation_sdk"):
        hints = typing.get_type_hints(type(value).__init__)
        for name, item in vars(value).items():
            where = f"{path}.{name}"
            if allowed := words(hints.get(name)):
                if item is not None and item not in allowed:
                    yield f"{where}: {item!r} is not one of {allowed}"
            else:
                yield from wrong_words(item, where)


def words(hint: Any) -> list[Any]:
    """The values of the enumeration in a type."""
    kinds = typing.get_args(hint) or (hint,)
    return [
        member.value
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, Enum)
        for member in kind
    ]


@TARGETS
def test_grafanas_own_types_know_every_word(target: Target) -> None:
    assert not list(wrong_words(parsed(fleet(target))))


def test_a_word_that_grafana_does_not_know_is_noticed() -> None:
    dashboard = fleet()
    graph = next(panel for panel in graphs(dashboard) if panel["type"] == PanelKind.LINES)
    graph["fieldConfig"]["defaults"]["custom"]["drawStyle"] = "lines"
    graph["optoins"] = {}
    (wrong,) = wrong_words(parsed(dashboard))
    assert "'lines'" in wrong
    kept = json.loads(json.dumps(parsed(dashboard), cls=JSONEncoder))
    assert "panels[].optoins" in set(lost(dashboard, kept))


# --- whole ----------------------------------------------------------------------------------------


def test_the_rows_are_in_order() -> None:
    titles = [panel["title"] for panel in fleet()["panels"] if panel["type"] == "row"]
    assert titles == [
        "Overview",
        "Rate, errors, duration",
        "Queue",
        "Saturation",
        "Redis",
        "Runtime",
        "Scrape",
    ]


@pytest.mark.parametrize("panel", graphs(fleet()), ids=lambda panel: str(panel["title"]))
def test_every_panel_says_what_it_shows_and_what_to_do(panel: dict[str, Any]) -> None:
    shows, do = panel["description"].split("\n\n**What to do.** ")
    assert len(shows) > 20
    assert len(do) > 20
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert all(query["legendFormat"] for query in panel["targets"])


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel.title))
def test_what_a_panel_points_to_is_there(panel: Panel) -> None:
    pointed = set(re.findall(r"\*\*([^*]+)\*\*", f"{panel.shows} {panel.do}"))
    assert pointed <= TITLES - {panel.title}


def test_titles_and_ids_are_unique() -> None:
    for key in ("title", "id"):
        values = [panel[key] for panel in fleet()["panels"]]
        assert len(set(values)) == len(values)


def test_panels_have_a_place_each() -> None:
    places = [panel["gridPos"] for panel in fleet()["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_thresholds_ascend() -> None:
    for panel in graphs(fleet()):
        first, *steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert first["value"] is None
        assert [step["value"] for step in steps] == sorted(step["value"] for step in steps)


# --- the queries ----------------------------------------------------------------------------------


def names_in(expr: str) -> set[str]:
    """The series that a query reads: the names before braces."""
    return set(re.findall(r"([A-Za-z_:][\w:]*)\{", expr))


@TARGETS
def test_every_series_is_of_the_deployment_only(target: Target) -> None:
    selectors = "".join(f",{name}={json.dumps(value)}" for name, value in target.selectors)
    for expr in expressions(target):
        found = re.findall(r"\{((?:[^}\"]|\"(?:[^\"\\]|\\.)*\")*)\}", expr)
        assert found, expr
        assert all(each.startswith(f'job="$job"{selectors}') for each in found), expr


def test_every_metric_that_is_read_exists() -> None:
    recorded = {
        rule["record"] for group in recording_rules(PLAIN)["groups"] for rule in group["rules"]
    }
    known = {spec.name for spec in CATALOGUE} | OF_PROMETHEUS | recorded
    for spec in CATALOGUE:
        if spec.kind is MetricKind.HISTOGRAM:
            known |= {f"{spec.name}_{part}" for part in ("bucket", "count", "sum")}
    for expr in expressions():
        assert names_in(expr) <= known, expr


def test_every_metric_is_shown_or_left_out_on_purpose() -> None:
    read = {
        re.sub(r"^job:|_(bucket|sum|count)$|:\w+$", "", name)
        for expr in expressions()
        for name in names_in(expr)
    }
    read |= {re.sub(r"_(bucket|sum|count)$|:\w+$", "", name) for name in read}
    missing = {spec.name for spec in CATALOGUE} - read - RECORDED.keys()
    assert missing == NOT_SHOWN.keys()


# Metrics that are shown by a rule with another name.
RECORDED = {
    "fulfillment_queue_oldest_order_timestamp_seconds": (
        "job:fulfillment_queue_oldest_order_age_seconds:max"
    ),
}


def test_rules_stand_for_the_metrics_that_they_replace() -> None:
    assert set(RECORDED.values()) <= {name for expr in expressions() for name in names_in(expr)}


def test_no_depth_is_summed_over_workers() -> None:
    gauges = (spec for spec in CATALOGUE if spec.kind is MetricKind.GAUGE)
    depths = {spec.name for spec in gauges if spec.per_queue}
    for expr in expressions():
        for name in names_in(expr) & depths:
            assert re.search(rf"\b(max|min) by \(queue\) \({name}\b", expr), expr


def test_rates_are_taken_over_what_grafana_says() -> None:
    windows = {window for expr in expressions() for window in re.findall(r"\[([^\]]+)\]", expr)}
    assert windows == {"$__rate_interval", "1h"}


def test_what_can_be_chosen() -> None:
    def chosen(target: Target) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in fleet(target)["templating"]["list"]}

    for target in (PLAIN, OTHER):
        assert list(chosen(target)) == ["datasource", "job", "instance", "queue"]
        assert chosen(target)["job"]["current"]["value"] == target.job
    hidden = 2
    assert chosen(PLAIN)["queue"]["hide"] == hidden
    assert chosen(OTHER)["queue"]["hide"] != hidden


def test_the_objectives_are_the_thresholds() -> None:
    def steps(title: str) -> list[Any]:
        (panel,) = [panel for panel in graphs(fleet(OTHER)) if panel["title"] == title]
        found = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        return [step["value"] for step in found]

    assert steps("Error ratio") == [None, 0.005, 0.072]
    assert steps("End to end") == [None, 120]


def test_runbooks_are_where_the_target_says() -> None:
    urls = [link["url"] for panel in graphs(fleet(OTHER)) for link in panel["links"]]
    assert len(urls) > 10
    assert all(url.startswith("https://wiki.example/runbooks#fulfillment") for url in urls)


def test_every_alert_leads_from_a_panel_to_its_runbook() -> None:
    found = {link["url"] for panel in graphs(fleet(OTHER)) for link in panel["links"]}
    told = {
        alert.rule(OTHER)["annotations"]["runbook_url"]
        for alert in ALERTS
        if alert.severity is not AlertSeverity.NONE
    }
    assert found == told


def test_a_worker_does_not_load_the_dashboards() -> None:
    source = (
        "import sys, fulfillment_worker.cli.main, fulfillment_worker.runtime.run\n"
        "sys.exit(any('dashboards' in name for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", source], check=True)
