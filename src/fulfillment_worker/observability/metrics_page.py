"""The reference page of the metrics, made from the catalogue.

`python -m fulfillment_worker.observability.metrics_page > docs/metrics.md` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fulfillment_worker.observability.catalogue import CATALOGUE
from fulfillment_worker.observability.spec import Merge, MetricKind, MetricSpec, Source

_HEAD = """\
# Metrics

Served at `/metrics`. This page is made from the catalogue in
`src/fulfillment_worker/observability/catalogue.py`: change that, then run
`python -m fulfillment_worker.observability.metrics_page > docs/metrics.md`.

Series exist from the first scrape, counters at 0. Label values come from fixed lists, never from
an order or from the text of an exception. Depths, ages and the books are what the worker last
heard from Redis: a scrape asks Redis nothing.

A page of some 240 series takes 2 ms of CPU (3 ms as OpenMetrics) and 21 KiB, 4 KiB compressed. What
tells of Python and the process is 0.04 ms of that; between scrapes it costs a microsecond for each
collection of garbage, and four ticks of the event loop a second.

With several processes under one supervisor the names are the same, and one page tells of all of
them: what each metric is then is said below it. Where it stays apart, the label `process` is the
number of the process (`0`, `1`, …; one that replaces another takes its number) or `supervisor`.
Processes report once a second, and at once when they begin or end something. No counter falls
when a process is replaced.
"""
_PARTS = {
    "Orders, queues and workers": (Source.EVENTS, Source.PLAIN),
    "Python and the process": (Source.RUNTIME,),
    "From the client library": (Source.LIBRARY,),
}


def render(catalogue: Sequence[MetricSpec] = CATALOGUE) -> str:
    """The page, as Markdown; the same catalogue gives the same bytes."""
    parts = [_HEAD]
    for title, sources in _PARTS.items():
        specs = [spec for spec in catalogue if spec.source in sources]
        parts.append(f"## {title}\n")
        parts.extend(_section(spec) for spec in specs)
    return "\n".join(parts)


def _section(spec: MetricSpec) -> str:
    lines = [f"### `{spec.name}`", "", f"{spec.kind.value.capitalize()}. {_sentence(spec.help)}"]
    lines += ["", _sentence(spec.why), *_details(spec), ""]
    return "\n".join(lines)


def _details(spec: MetricSpec) -> list[str]:
    details = [_label(spec, index) for index in range(len(spec.labels))]
    if spec.per_queue:
        details.append("- label `queue`: only where a worker serves several queues")
    if spec.buckets:
        details.append(f"- buckets: {', '.join(f'{bound:g}' for bound in spec.buckets)} (seconds)")
    details.append(f"- several processes: {_merging(spec)}")
    return ["", *details]


def _merging(spec: MetricSpec) -> str:
    match spec.merging:
        case Merge.SUM:
            return "the sum of those that run" if spec.kind is MetricKind.GAUGE else "the sum"
        case Merge.MAX:
            return "the highest"
        case Merge.NEWEST | Merge.SINCE:
            return "as the one saw it that read the queue last"
        case Merge.EACH:
            return "one series for each, and for the supervisor, by the label `process`"
        case Merge.EACH_WORKER:
            return "one series for each, by the label `process`"


def _label(spec: MetricSpec, index: int) -> str:
    values = spec.values[index] if spec.values else ()
    listed = ", ".join(f"`{value}`" for value in values)
    return f"- label `{spec.labels[index]}`" + (f": {listed}" if listed else "")


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


if __name__ == "__main__":
    sys.stdout.write(render())
