"""What Grafana does with a dashboard: it fills in the variables, and asks Prometheus."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.support.prometheus import PrometheusServer

Json = dict[str, Any]


class Chosen(NamedTuple):
    """What is chosen on top of the dashboard. instances, queues: none stand for all."""

    job: str
    instances: Sequence[str] = ()
    queues: Sequence[str] = ()
    rate_interval: str = "10s"

    def fill_in(self, expr: str) -> str:
        """The query with its variables replaced."""
        values = {
            "job": json.dumps(self.job)[1:-1],
            "instance": _any_of(self.instances),
            "queue": _any_of(self.queues),
            "__rate_interval": self.rate_interval,
        }
        return re.sub(r"\$(\w+)", lambda found: values[found[1]], expr)


def _any_of(values: Sequence[str]) -> str:
    """A regular expression in a string of PromQL; of all, as the variables say it."""
    if not values:
        return ".*"
    escaped = [re.escape(value).replace("\\", "\\\\") for value in values]
    return f"({'|'.join(escaped)})" if len(escaped) > 1 else escaped[0]


class Line(NamedTuple):
    """A line of a graph. points: (time, value); a single one for a number."""

    name: str
    labels: dict[str, str]
    points: list[tuple[float, float]]


def ask(
    prometheus: PrometheusServer,
    query: Json,
    chosen: Chosen,
    *,
    since: float,
    until: float | None = None,
    step: float = 0.5,
) -> list[Line]:
    """The answer to one query of a panel, between two points of Unix time.

    step: seconds between the points of a line.
    """
    until = time.time() if until is None else until
    expr = chosen.fill_in(query["expr"])
    if query["instant"]:
        found = prometheus.api("query", query=expr, time=str(until))
    else:
        found = prometheus.api(
            "query_range", query=expr, start=str(since), end=str(until), step=str(step)
        )
    return [_line(query["legendFormat"], series) for series in found["result"]]


def _line(legend: str, series: Json) -> Line:
    labels: dict[str, str] = series["metric"]
    name = re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)
    points = series["values"] if "values" in series else [series["value"]]
    return Line(name.strip(), labels, [(float(at), float(value)) for at, value in points])


def has_data(lines: Sequence[Line]) -> bool:
    """Whether there is anything to be seen: a number that is one."""
    return any(math.isfinite(value) for line in lines for _, value in line.points)


def exemplars(
    prometheus: PrometheusServer, query: Json, chosen: Chosen, *, since: float
) -> list[tuple[float, float, str]]:
    """The single orders behind a query: (time, value, trace id)."""
    found = prometheus.api(
        "query_exemplars",
        query=chosen.fill_in(query["expr"]),
        start=str(since),
        end=str(time.time()),
    )
    return [
        (float(each["timestamp"]), float(each["value"]), each["labels"]["trace_id"])
        for series in found
        for each in series["exemplars"]
    ]


def values_of(prometheus: PrometheusServer, variable: Json, chosen: Chosen) -> list[str]:
    """What can be chosen for a variable."""
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
    assert match is not None
    found: list[str] = prometheus.api(
        f"label/{match[2]}/values", **{"match[]": chosen.fill_in(match[1])}
    )
    return found
