"""What can be chosen on top of a dashboard, and what is drawn over its graphs."""

from __future__ import annotations

from fulfillment_worker.monitoring.dashboards.grafana import SOURCE, Json, fill_in
from fulfillment_worker.monitoring.dashboards.panel import FIRING
from fulfillment_worker.monitoring.target import Target

_HIDDEN, _SHOWN = 2, 0
_ON_TIME_RANGE_CHANGE = 2
_ALPHABETICAL = 1


def variables(target: Target) -> list[Json]:
    """Data source, job, instance and queue."""
    return [
        {
            "type": "datasource",
            "name": "datasource",
            "label": "Data source",
            "query": "prometheus",
            "regex": "",
            "hide": _SHOWN,
            "multi": False,
            "includeAll": False,
            "skipUrlSync": False,
        },
        _label("job", "Job", "fulfillment_build_info", {"text": target.job, "value": target.job}),
        _label("instance", "Instance", fill_in("fulfillment_build_info{fleet}", target)),
        _label(
            "queue",
            "Queue",
            fill_in("fulfillment_queue_depth{fleet}", target),
            hide=_SHOWN if len(target.queues) > 1 else _HIDDEN,
        ),
    ]


def _label(name: str, title: str, series: str, one: Json | None = None, hide: int = _SHOWN) -> Json:
    """A variable with the values of a label of the same name. one: the default; else all."""
    query = f"label_values({series}, {name})"
    common = {
        "type": "query",
        "name": name,
        "label": title,
        "datasource": SOURCE,
        "query": {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": _ON_TIME_RANGE_CHANGE,
        "sort": _ALPHABETICAL,
        "regex": "",
        "hide": hide,
        "skipUrlSync": False,
        "multi": one is None,
        "includeAll": one is None,
    }
    if one is not None:
        return {**common, "current": {"selected": True, **one}}
    everything = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return {**common, "allValue": ".*", "current": everything}


def marks(target: Target) -> list[Json]:
    """Alerts, shaded over all graphs while they fire."""
    return [
        {
            "name": "Firing alerts",
            "datasource": SOURCE,
            "enable": True,
            "hide": False,
            "iconColor": "red",
            "expr": fill_in(FIRING, target),
            "titleFormat": "{{alertname}}",
            "textFormat": "{{severity}}",
        }
    ]
