"""Draws the figures of `make bench-peers` as an SVG.

    plot.py PEERS.JSON OUTPUT.SVG

Runs in an environment of its own, which has matplotlib.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
# Text stays text, and the same figures make the same file.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 9})

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

_OURS, _OTHERS = "#1f6feb", "#9aa4b2"
_LONGEST = 120.0


def main(source: Path, target: Path) -> None:
    """One panel for each workload."""
    found = json.loads(source.read_text())
    figure, panels = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    rates(panels[0][0], "no-op drain, one core: orders/s", found["noop"])
    rates(panels[0][1], "10 ms of waiting, 100 at once: orders/s (ideal: 10,000)", found["wait"])
    waits(panels[1][0], "pick-up by an idle worker: p50, and a line to p99, ms", found["pickup"])
    recovery(panels[1][1], "kill -9: the order runs again after, s", found["recovery"])
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None, "Creator": None})


def rates(axes: Axes, title: str, rows: dict[str, dict[str, list[float]]]) -> None:
    """Medians, with lines from the least to the most."""
    drawn = sorted(((name, row["rate"]) for name, row in rows.items()), key=_median)
    bars(axes, title, [(name, statistics.median(r), min(r), max(r)) for name, r in drawn])


def waits(axes: Axes, title: str, rows: dict[str, dict[str, list[float]]]) -> None:
    """Medians, on a scale of powers of ten."""
    drawn = []
    for name, row in rows.items():
        ordered = sorted(1000 * wait for wait in row["waits"])
        middle = statistics.median(ordered)
        drawn.append((name, middle, middle, ordered[int(0.99 * len(ordered))]))
    axes.set_xscale("log")
    bars(axes, title, sorted(drawn, key=lambda row: -row[1]))


def recovery(axes: Axes, title: str, rows: dict[str, float | None]) -> None:
    """What took too long is as long as the panel, and says so."""
    drawn = [(name, seconds or _LONGEST) for name, seconds in rows.items()]
    drawn.sort(key=lambda row: -row[1])
    bars(axes, title, [(name, seconds, seconds, seconds) for name, seconds in drawn])
    for at, (name, _) in enumerate(drawn):
        if rows[name] is None:
            axes.text(
                _LONGEST, at, f"lost, or not within {_LONGEST:.0f} s ", va="center", ha="right"
            )


def bars(axes: Axes, title: str, rows: list[tuple[str, float, float, float]]) -> None:
    """rows: name, length, and where its line starts and ends; the last is on top."""
    names = [name for name, *_ in rows]
    lengths = [length for _, length, _, _ in rows]
    spans = [
        [length - least for _, length, least, _ in rows],
        [most - length for _, length, _, most in rows],
    ]
    colours = [_OURS if name.startswith("fulfillment-worker") else _OTHERS for name in names]
    axes.barh(names, lengths, xerr=spans, color=colours, error_kw={"lw": 1, "capsize": 2})
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_xscale() == "linear":
        axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")


def _median(row: tuple[str, list[float]]) -> Any:
    return statistics.median(row[1])


main(Path(sys.argv[1]), Path(sys.argv[2]))
