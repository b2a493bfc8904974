"""Panels as Grafana's JSON (dashboard schema 41, Grafana 11.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from string import ascii_uppercase
from typing import Any

from fulfillment_worker.monitoring.dashboards.panel import Panel, PanelKind, Query, Row
from fulfillment_worker.monitoring.target import Target, quoted

Json = dict[str, Any]

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24
# Width and height in Grafana's grid: all the numbers of the overview fit into one line.
_SIZES = {PanelKind.STAT: (3, 4)}
_OTHER_SIZE = (8, 8)


def fill_in(expr: str, target: Target) -> str:
    """The query with the matchers of the deployment in its braces."""
    fleet = 'job="$job"' + "".join(f",{name}={quoted(value)}" for name, value in target.selectors)
    worker = f'{fleet},instance=~"$instance"'
    # All queues is `.*`, which also matches series without the label: those of a single queue.
    matchers = {
        "fleet": fleet,
        "worker": worker,
        "fleet_queue": f'{fleet},queue=~"$queue"',
        "worker_queue": f'{worker},queue=~"$queue"',
    }
    return re.sub(r"\{(\w+)(?=[,}])", lambda found: "{" + matchers[found[1]], expr)


def lay_out(rows: Iterable[Row], target: Target) -> list[Json]:
    """All panels with their places, from the top left; each row begins a line of its own."""
    panels: list[Json] = []
    bottom = 0
    for row in rows:
        panels.append(_heading(row, bottom))
        bottom += 1
        for place, panel in _flow(row.panels, bottom):
            panels.append({"gridPos": place, **_panel(panel, target)})
            bottom = max(bottom, place["y"] + place["h"])
    return [{"id": number, **panel} for number, panel in enumerate(panels, start=1)]


def _flow(panels: Iterable[Panel], top: int) -> Iterator[tuple[dict[str, int], Panel]]:
    x, y = 0, top
    for panel in panels:
        width, height = _SIZES.get(panel.kind, _OTHER_SIZE)
        if x + width > _WIDTH:
            x, y = 0, y + height
        yield {"x": x, "y": y, "w": width, "h": height}, panel
        x += width


def _heading(row: Row, top: int) -> Json:
    place = {"x": 0, "y": top, "w": _WIDTH, "h": 1}
    return {"type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, target: Target) -> Json:
    return {
        "type": panel.kind.value,
        "title": panel.title,
        "description": f"{panel.shows}\n\n**What to do.** {panel.do}",
        "datasource": SOURCE,
        "transparent": False,
        "transformations": [],
        "targets": [
            _query(query, letter, panel, target)
            for letter, query in zip(ascii_uppercase, panel.queries, strict=False)
        ],
        "links": [_runbook(alert, target) for alert in panel.runbooks],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _OPTIONS[panel.kind],
    }


def _query(query: Query, letter: str, panel: Panel, target: Target) -> Json:
    # A number that was true an hour ago is no answer: STAT asks for now.
    instant = panel.kind is PanelKind.STAT
    return {
        "refId": letter,
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": fill_in(query.expr, target),
        "legendFormat": query.legend,
        "format": "heatmap" if panel.kind is PanelKind.HEATMAP else "time_series",
        "instant": instant,
        "range": not instant,
        "exemplar": panel.exemplars and letter == "A",
    }


def _runbook(alert: str, target: Target) -> Json:
    return {
        "title": f"Runbook: {alert}",
        "url": runbook_url(alert, target),
        "type": "link",
        "icon": "doc",
        "tooltip": "",
        "tags": [],
        "asDropdown": False,
        "targetBlank": True,
        "includeVars": False,
        "keepTime": False,
    }


def runbook_url(alert: str, target: Target) -> str:
    """Where the runbook of an alert is."""
    return f"{target.runbooks}#{alert.lower()}"


def _defaults(panel: Panel) -> Json:
    thresholds = [
        {"value": None, "color": panel.base.value},
        *({"value": step.at, "color": step.colour.value} for step in panel.steps),
    ]
    config: Json = {
        "unit": panel.unit.value,
        "thresholds": {"mode": "absolute", "steps": thresholds},
        "color": {"mode": _colours(panel)},
        "mappings": [_mapping(panel)] if panel.states else [],
        "custom": _custom(panel),
    }
    if panel.kind is PanelKind.LINES:
        config["min"] = 0
    if panel.highest is not None:
        config["max"] = panel.highest
    return config


def _overrides(panel: Panel) -> list[Json]:
    return [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour.value}}],
        }
        for name, colour in panel.colours
    ]


def _colours(panel: Panel) -> str:
    return "palette-classic" if panel.kind is PanelKind.LINES else "thresholds"


def _mapping(panel: Panel) -> Json:
    options = {
        str(state.value): {"text": state.text, "color": state.colour.value, "index": index}
        for index, state in enumerate(panel.states)
    }
    return {"type": "value", "options": options}


def _custom(panel: Panel) -> Json:
    if panel.kind is PanelKind.STATES:
        return {"lineWidth": 0, "fillOpacity": 70}
    if panel.kind is not PanelKind.LINES:
        return {}
    return {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 30 if panel.stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
    }


_OPTIONS: dict[PanelKind, Json] = {
    PanelKind.STAT: {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "value",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    PanelKind.LINES: {
        "legend": {
            "displayMode": "list",
            "placement": "bottom",
            "showLegend": True,
            "calcs": [],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    PanelKind.HEATMAP: {
        "calculate": False,
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Blues",
            "fill": "blue",
            "exponent": 0.5,
            "reverse": False,
            "steps": 64,
        },
        "exemplars": {"color": "orange"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": True},
        "yAxis": {"axisPlacement": "left", "unit": "s", "reverse": False},
    },
    PanelKind.STATES: {
        "showValue": "auto",
        "rowHeight": 0.8,
        "mergeValues": True,
        "alignValue": "left",
        "legend": {
            "displayMode": "list",
            "placement": "bottom",
            "showLegend": True,
            "calcs": [],
        },
        "tooltip": {"mode": "single", "sort": "none"},
    },
}
