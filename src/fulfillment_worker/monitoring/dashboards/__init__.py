"""Dashboards for Grafana, generated from the catalogue of panels in this package."""

from __future__ import annotations

import json

from fulfillment_worker.monitoring.dashboards.grafana import Json, lay_out
from fulfillment_worker.monitoring.dashboards.overview import overview
from fulfillment_worker.monitoring.dashboards.panel import Row
from fulfillment_worker.monitoring.dashboards.processing import processing
from fulfillment_worker.monitoring.dashboards.queue import QUEUE
from fulfillment_worker.monitoring.dashboards.redis import REDIS
from fulfillment_worker.monitoring.dashboards.runtime import RUNTIME
from fulfillment_worker.monitoring.dashboards.saturation import SATURATION
from fulfillment_worker.monitoring.dashboards.scrape import SCRAPE
from fulfillment_worker.monitoring.dashboards.variables import marks, variables
from fulfillment_worker.monitoring.target import Target

# Of the version that docs/dependencies.md names.
_SCHEMA = 41


def rows(target: Target) -> tuple[Row, ...]:
    """What the dashboard of the fleet shows, from top to bottom."""
    return (overview(target), processing(target), QUEUE, SATURATION, REDIS, RUNTIME, SCRAPE)


def dashboards(target: Target) -> dict[str, Json]:
    """File name -> content, to be written as JSON; the same target gives the same content."""
    return {"fulfillment-worker.json": _fleet(target)}


def as_text(dashboard: Json) -> str:
    """What a file of a dashboard holds."""
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def _fleet(target: Target) -> Json:
    return {
        "uid": "fulfillment-worker",
        "title": "Fulfillment worker",
        "description": "Orders, from the queue to their end. Made by "
        "`fulfillment-worker monitoring`; changes made here are lost when it is made again.",
        "tags": ["fulfillment-worker"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "fiscalYearStartMonth": 0,
        "templating": {"list": variables(target)},
        "annotations": {"list": marks(target)},
        "links": [],
        "panels": lay_out(rows(target), target),
    }
