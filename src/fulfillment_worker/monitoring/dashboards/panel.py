"""What a panel is, before it becomes Grafana's JSON."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class PanelKind(StrEnum):
    """How a panel draws: Grafana's names of its plugins."""

    STAT = "stat"
    LINES = "timeseries"
    HEATMAP = "heatmap"
    STATES = "state-timeline"


class Unit(StrEnum):
    """Grafana's names of units; a `suffix:` is shown as it is."""

    COUNT = "short"
    RATIO = "percentunit"
    SECONDS = "s"
    BYTES = "bytes"
    ORDERS = "suffix:orders"
    ORDERS_PER_SECOND = "suffix:orders/s"
    ATTEMPTS_PER_SECOND = "suffix:attempts/s"
    PER_SECOND = "suffix:/s"


class Colour(StrEnum):
    """What a value means: green is well, blue is neutral."""

    GREEN = "green"
    BLUE = "blue"
    YELLOW = "yellow"
    ORANGE = "orange"
    RED = "red"


INSTANCE = "{{instance}}"
PROCESS = "{{instance}} {{process}}"
"""The second where a worker of several processes reports each of them; with one, it is blank."""


class Query(msgspec.Struct, frozen=True):
    """One question to Prometheus.

    expr: PromQL, in which `{fleet}`, `{worker}`, `{fleet_queue}` and `{worker_queue}` stand for
    the matchers of the deployment: of all its workers, or of the instances that were chosen, each
    with or without the queues that were chosen. `{worker, status="error"}` adds to them.
    legend: the name of a line, with labels as `{{instance}}`.
    """

    expr: str
    legend: str


class Step(msgspec.Struct, frozen=True):
    """From this value on, this colour."""

    at: float
    colour: Colour


class State(msgspec.Struct, frozen=True):
    """What a number stands for."""

    value: int
    text: str
    colour: Colour


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One panel. shows: what is seen. do: what to do about it, for somebody woken up by it.

    runbooks: the alerts that watch the same thing. steps: thresholds, ascending, above green (or
    above `base`). exemplars: whether single orders with their traces are shown as dots.
    highest: the top of the axis, where there is one by nature. colours: of lines, by their names.
    """

    title: str
    shows: str
    do: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: PanelKind = PanelKind.LINES
    runbooks: tuple[str, ...] = ()
    base: Colour = Colour.GREEN
    steps: tuple[Step, ...] = ()
    states: tuple[State, ...] = ()
    exemplars: bool = False
    stacked: bool = False
    highest: float | None = None
    colours: tuple[tuple[str, Colour], ...] = ()


class Row(msgspec.Struct, frozen=True):
    """Panels under a heading. about: what question they answer."""

    title: str
    about: str
    panels: tuple[Panel, ...]


def quantiles(metric: str, by: str = "", legend: str = "") -> tuple[Query, ...]:
    """The median, 95th and 99th percentile of a histogram's buckets (`name_bucket{worker}`)."""
    labels = f"le, {by}" if by else "le"
    rate = f"sum by ({labels}) (rate({metric}[$__rate_interval]))"
    return tuple(
        Query(f"histogram_quantile({q / 100:g}, {rate})", f"p{q} {legend}".strip())
        for q in (50, 95, 99)
    )


def warn(yellow: float, red: float | None = None) -> tuple[Step, ...]:
    """Steps to yellow, and to red."""
    # As floats, so that 300 and 300.0 make the same file.
    steps = (Step(float(yellow), Colour.YELLOW),)
    return steps if red is None else (*steps, Step(float(red), Colour.RED))


FIRING = 'ALERTS{fleet, alertstate="firing", alertname!~".*Watchdog"}'
"""Alerts of the deployment that fire, without the one that always does."""
