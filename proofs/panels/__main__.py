"""`python -m proofs.panels FILE`: what each panel shows of a real run, to be drawn."""

from __future__ import annotations

import json
import math
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from fulfillment_worker.monitoring.dashboards import dashboards
from proofs.panels.story import CHAPTERS, LENGTH, TARGET, Stage, play
from tests.support.grafana import Chosen, Json, Line, ask, exemplars

# The moments, in seconds, at which the single numbers are read.
MOMENTS = {"before": 20.0, "carrier down (c)": 108.0, "rush (f)": 204.0}
_CHOSEN = Chosen(job=TARGET.job, rate_interval="5s")


def main() -> int:
    (target,) = sys.argv[1:]
    # Told to stop, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="panels-") as folder:
        for stage in play(Path(folder), lambda text: print(text, file=sys.stderr)):
            answers = _answers(stage)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(answers))
    return 0


def _answers(stage: Stage) -> Json:
    (dashboard,) = dashboards(TARGET).values()
    graphs = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    return {
        "length": LENGTH,
        "chapters": [chapter._asdict() for chapter in CHAPTERS],
        "panels": [_answer(stage, panel) for panel in graphs],
    }


def _answer(stage: Stage, panel: Json) -> Json:
    answer = {key: panel[key] for key in ("title", "type", "fieldConfig")}
    if panel["type"] == "stat":
        return {**answer, "numbers": _numbers(stage, panel)}
    lines = [line for query in panel["targets"] for line in _lines(stage, query)]
    dots = [
        [round(at - stage.began, 2), value]
        for query in panel["targets"]
        if query["exemplar"]
        for at, value, _ in exemplars(stage.prometheus, query, _CHOSEN, since=stage.began)
    ]
    return {**answer, "lines": lines, "dots": dots}


def _renamed(stage: Stage, name: str) -> str:
    """Addresses as they are where workers run on hosts of their own."""
    for number, target in enumerate(stage.fleet.targets, start=1):
        name = name.replace(target, f"worker-{number}:2112")
    return name


def _lines(stage: Stage, query: Json) -> list[Json]:
    found = ask(
        stage.prometheus,
        query,
        _CHOSEN,
        since=stage.began,
        until=stage.began + LENGTH,
        step=1,
    )
    return [
        {"name": _renamed(stage, line.name), "points": _points(line, stage.began)} for line in found
    ]


def _points(line: Line, began: float) -> list[list[float]]:
    """Seconds since the beginning, and values that are numbers."""
    return [[round(at - began, 2), value] for at, value in line.points if math.isfinite(value)]


def _numbers(stage: Stage, panel: Json) -> dict[str, Any]:
    (query,) = panel["targets"]
    found = {}
    for name, moment in MOMENTS.items():
        at = stage.began + moment
        lines = ask(stage.prometheus, query, _CHOSEN, since=at, until=at)
        found[name] = lines[0].points[0][1] if lines else None
    return found


if __name__ == "__main__":
    sys.exit(main())
