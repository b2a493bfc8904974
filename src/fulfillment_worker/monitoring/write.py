"""Rules, alerts and dashboards as files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fulfillment_worker.monitoring.alerts import alerts
from fulfillment_worker.monitoring.dashboards import as_text, dashboards
from fulfillment_worker.monitoring.document import yaml
from fulfillment_worker.monitoring.rules import rules
from fulfillment_worker.monitoring.target import Target

MARK = "fulfillment-worker monitoring"
"""Somewhere in each file: what has it may be written anew."""

_HEAD = f"# Written by `{MARK}`: change its options, not this file.\n"


class Foreign(Exception):
    """Files that something else wrote are in the way. paths: all of them."""

    def __init__(self, paths: list[Path]) -> None:
        super().__init__(", ".join(map(str, paths)))
        self.paths = paths


def files(target: Target, *, operator: bool = False) -> dict[str, str]:
    """Relative path -> content. operator: rules as a resource of the Prometheus Operator."""
    return (_resource(target) if operator else _rule_files(target)) | _dashboards(target)


def _rule_files(target: Target) -> dict[str, str]:
    return {
        "rules.yaml": _HEAD + yaml(rules(target)),
        "alerts.yaml": _HEAD + yaml(alerts(target)),
    }


def _dashboards(target: Target) -> dict[str, str]:
    return {f"dashboards/{name}": as_text(content) for name, content in dashboards(target).items()}


def _resource(target: Target) -> dict[str, str]:
    name = re.sub(r"[^a-z0-9]+", "-", target.job.lower()).strip("-") or "fulfillment-worker"
    resource: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "fulfillment-worker"}},
        "spec": {"groups": rules(target)["groups"] + alerts(target)["groups"]},
    }
    return {"prometheusrule.yaml": _HEAD + yaml(resource)}


def write(folder: Path, contents: Mapping[str, str], *, force: bool = False) -> list[Path]:
    """Write all of them, or nothing; the paths, in order.

    force: also over files that something else wrote. Raises Foreign, or OSError.
    """
    paths = {folder / name: text for name, text in contents.items()}
    foreign = [path for path in paths if path.exists() and not _is_ours(path)]
    if foreign and not force:
        raise Foreign(foreign)
    for path, text in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        # In one step, since a Prometheus may be about to read it.
        new = path.with_name(f".{path.name}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    return list(paths)


def _is_ours(path: Path) -> bool:
    return path.is_file() and MARK in path.read_text(encoding="utf-8", errors="replace")
