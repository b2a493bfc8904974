"""What is a deployment's own in its rules, alerts and dashboards."""

from __future__ import annotations

import json
import re

import msgspec

PER_TARGET = ("instance", "pod", "container", "endpoint", "process")
"""Labels that tell the workers of one deployment apart; aggregations are made without them. The
last one is the supervisor's, who reports for several processes."""

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
# Below this a worker's own rhythm (a survey a second, a turn of the loop every half) would show.
_LEAST_THRESHOLD = 5.0


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment, as Prometheus sees it, and what is promised of it.

    job: the scrape job. selectors: more labels that its series have, such as a namespace.
    queues: what its workers serve. processes: of each, under a supervisor; 0 without one.
    error_objective: per cent of attempts that succeed.
    late_objective: per cent of orders that are fulfilled within late_after seconds, which is a
    bucket bound of `order_end_to_end_duration_seconds`. scale: factor on every window and wait;
    1, but for tests that can't wait for days. runbooks: where the page of runbooks is.
    scaled_object: the ScaledObject of KEDA that may scale them to none; "" where one always runs.
    """

    job: str = "fulfillment-worker"
    selectors: tuple[tuple[str, str], ...] = ()
    queues: tuple[str, ...] = ("orders",)
    processes: int = 0
    error_objective: float = 99.9
    late_objective: float = 99.0
    late_after: float = 60.0
    scale: float = 1.0
    runbooks: str = "docs/runbooks.md"
    scaled_object: str = ""

    @property
    def error_budget(self) -> float:
        """The share of attempts that may fail, as a ratio."""
        return round(1 - self.error_objective / 100, 9)

    @property
    def late_budget(self) -> float:
        """The share of orders that may be late, as a ratio."""
        return round(1 - self.late_objective / 100, 9)

    @property
    def labels(self) -> dict[str, str]:
        """What all its series have."""
        return {"job": self.job, **dict(self.selectors)}

    def of(self, metric: str, *matchers: str) -> str:
        """A selector: `metric{job="…",…}`, with these matchers (`status="error"`) as well."""
        own = [f"{name}={quoted(value)}" for name, value in self.labels.items()]
        return f"{metric}{{{','.join([*own, *matchers])}}}"

    def window(self, text: str) -> str:
        """A duration of PromQL, scaled. text: a whole number and a unit, such as `5m`."""
        if self.scale == 1:
            return text
        return f"{max(1, round(_seconds(text) * self.scale * 1000))}ms"

    def seconds(self, text: str) -> str:
        """A threshold in seconds, scaled, for something that is compared with a time."""
        if self.scale == 1:
            return f"{_seconds(text):g}"
        return f"{max(_LEAST_THRESHOLD, _seconds(text) * self.scale):g}"


def quoted(text: str) -> str:
    """A string literal of PromQL."""
    return json.dumps(text, ensure_ascii=False)


def bound(value: float) -> str:
    """A matcher for a bucket: Python writes `le="1.0"`, other clients and Prometheus 3 `le="1"`."""
    whole = float(value).is_integer()
    text = re.escape(f"{value:g}").replace("\\.", "[.]")
    return f'le=~"{text}|{text}[.]0"' if whole else f'le=~"{text}"'


def _seconds(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1]]
