"""The scrape: whether these graphs can be believed."""

from __future__ import annotations

from fulfillment_worker.monitoring.dashboards.panel import (
    INSTANCE,
    Colour,
    Panel,
    PanelKind,
    Query,
    Row,
    State,
    Step,
    Unit,
    warn,
)

_UP = (State(0, "down", Colour.RED), State(1, "up", Colour.GREEN))

SCRAPE = Row(
    "Scrape",
    "Can these graphs be believed?",
    (
        Panel(
            title="Targets",
            runbooks=(
                "FulfillmentTargetDown",
                "FulfillmentMetricMissing",
            ),
            kind=PanelKind.STATES,
            unit=Unit.COUNT,
            shows="Whether Prometheus could scrape a worker.",
            do="Down: the worker is gone, or its port can't be reached. `curl` its `/metrics` from "
            "Prometheus's host.",
            queries=(Query("up{worker}", INSTANCE),),
            states=_UP,
        ),
        Panel(
            title="Scrape duration",
            unit=Unit.SECONDS,
            shows="Time that Prometheus took for one page.",
            do="Some milliseconds are usual. Slow: the process is busy in many threads, or the "
            "host has no processor time; see **CPU**.",
            queries=(Query("scrape_duration_seconds{worker}", INSTANCE),),
            steps=warn(1, 5),
        ),
        Panel(
            title="Series",
            runbooks=("FulfillmentTooManySeries",),
            unit=Unit.COUNT,
            shows="Series that a worker serves.",
            do="It is constant: label values come from fixed lists. Growing: a metric of the "
            "handler's own has a label without bounds.",
            queries=(Query("scrape_samples_scraped{worker}", INSTANCE),),
        ),
        Panel(
            title="Observer faults",
            unit=Unit.COUNT,
            shows="Times that a metric, a log line or a trace could not be recorded, since the "
            "worker started. No order was affected.",
            do="Above 0: the other numbers may be too low, and there is a bug to report, with the "
            "worker's log.",
            queries=(Query("fulfillment_observer_faults_total{worker}", INSTANCE),),
            steps=(Step(1, Colour.YELLOW),),
        ),
        Panel(
            title="Log lines dropped",
            unit=Unit.COUNT,
            shows="Log lines that were not written, since the worker started.",
            do="Above 0: whoever reads the worker's log is too slow or gone, so the log is "
            "incomplete. The worker never waits for it.",
            queries=(Query("fulfillment_log_lines_dropped_total{worker}", INSTANCE),),
            steps=(Step(1, Colour.YELLOW),),
        ),
        Panel(
            title="Spans",
            unit=Unit.COUNT,
            shows="Spans of traces that ended, and those that the collector took (ok) or that were "
            "lost (error), since the worker started. 0 where traces are off.",
            do="Errors, or far more ended than exported: the collector is away or too slow. The "
            "log's `traces_lost` names the cause. No order depends on it.",
            queries=(
                Query("fulfillment_spans_ended_total{worker}", "{{instance}} ended"),
                Query("fulfillment_spans_exported_total{worker}", "{{instance}} {{outcome}}"),
            ),
        ),
    ),
)
