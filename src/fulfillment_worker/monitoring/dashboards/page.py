"""The page of the dashboard, made from the catalogue of panels.

`python -m fulfillment_worker.monitoring.dashboards.page > docs/dashboards.md` writes it.
"""

from __future__ import annotations

import re
import sys

from fulfillment_worker.monitoring.dashboards import rows
from fulfillment_worker.monitoring.dashboards.grafana import runbook_url
from fulfillment_worker.monitoring.dashboards.panel import Panel, Row
from fulfillment_worker.monitoring.target import Target

_TARGET = Target(runbooks="runbooks.md")

_HEAD = """\
# The dashboard

What each panel shows, and what to do about it. Grafana shows the same text where the mouse rests
on the corner of a panel.

`docker compose up` starts a Grafana that opens with it, on `http://127.0.0.1:3000`. Something to
see:

```console
$ docker compose exec fulfillment-worker fulfillment-worker enqueue --sample 500
```

For a Grafana of your own, from version 11.6 on, write it for your job and its labels, and import
the file, or have it provisioned:

```console
$ fulfillment-worker monitoring ./monitoring --job shop-worker --selector namespace=shop
```

On top you choose the data source, the job, instances and (where workers serve several) queues.
Where a worker runs several processes, each has a line of its own in what is about processes. It
needs the rules that the same command writes. The dots on [Processing time](#processing-time) need
[traces](tracing.md), and a Prometheus whose feature `exemplar-storage` is enabled; they lead to
their trace if Grafana's data source says where traces are, in its setting
`exemplarTraceIdDestinations`, for the label `trace_id`.

This page is made from `src/fulfillment_worker/monitoring/dashboards/`: change that, then run
`python -m fulfillment_worker.monitoring.dashboards.page > docs/dashboards.md`.

## The pictures

They are of a real run: three workers with eight slots each, two queues, a Prometheus that looks
every second, and the queries of the panels. `make panels` plays it again and draws them anew. Its
windows are a twentieth of the real ones (`5m` is 15 s), and an order is late after 30 s. The
letters above the graphs say what was done to it:

"""
STORY = {
    "a": "one order in ten fails at its first attempt",
    "b": "eight orders that the handler rejects, and three entries that are none",
    "c": "the carrier that the handler needs is down",
    "d": "Redis is stopped, and started again",
    "e": "a worker is killed, and started again after 6 seconds",
    "f": "a rush: nine times as many orders, more than the workers can run",
    "g": "a handler blocks the event loop of its worker for 3 seconds",
    "h": "a worker is told to stop, finishes orders of 3 seconds, and is started again",
}
"""What happens in the pictures, by its letter."""


def render() -> str:
    """The page, as Markdown; the same catalogue gives the same bytes."""
    story = "\n".join(f"- **{letter}**: {what}" for letter, what in STORY.items())
    parts = [_HEAD + story + "\n"]
    for row in rows(_TARGET):
        parts.append(_heading(row))
        parts.extend(_section(panel) for panel in row.panels)
    return "\n".join(parts)


def picture(title: str) -> str:
    """The name of the file with a panel's picture."""
    return f"{_anchor(title)}.png"


def _anchor(title: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _linked(text: str) -> str:
    """Panels are in bold where others speak of them."""
    return re.sub(r"\*\*([^*]+)\*\*", lambda name: f"[{name[1]}](#{_anchor(name[1])})", text)


def _heading(row: Row) -> str:
    return f"## {row.title}\n\n{row.about}\n"


def _section(panel: Panel) -> str:
    lines = [
        f"### {panel.title}",
        f"![{panel.title}](dashboards/{picture(panel.title)})",
        _linked(panel.shows),
        f"**What to do.** {_linked(panel.do)}",
    ]
    if panel.runbooks:
        links = (f"[`{alert}`]({runbook_url(alert, _TARGET)})" for alert in panel.runbooks)
        lines.append(f"Alerts: {', '.join(links)}.")
    return "\n\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
