"""`python proofs/panels/draw.py ANSWERS FOLDER`: a picture of each panel, from what was answered.

Runs in an environment of its own, with matplotlib and without the project: see `make panels`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from PIL import Image

Json = dict[str, Any]

# Grafana's words for colours, in shades that can be read on white.
COLOURS = {
    "green": "#3a8f47",
    "blue": "#3c78c8",
    "yellow": "#e0a100",
    "orange": "#e8731b",
    "red": "#d0342c",
}
LINES = ["#3c78c8", "#e8731b", "#3a8f47", "#9b59b6", "#d0342c", "#17a2a2", "#8a6d3b", "#777777"]
GREY = "#666666"
STYLE = {
    "font.size": 8,
    "axes.edgecolor": "#bbbbbb",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#eeeeee",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "svg.hashsalt": "panels",
}


def main() -> int:
    source, folder = map(Path, sys.argv[1:])
    answers = json.loads(source.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    with mpl.rc_context(STYLE):
        for panel in answers["panels"]:
            figure = numbers(panel) if panel["type"] == "stat" else graph(panel, answers)
            save(figure, folder / f"{slug(panel['title'])}.png")
    return 0


def slug(title: str) -> str:
    """As GitHub makes an anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def save(figure: Figure, path: Path) -> None:
    """As a PNG with few colours, which is a third of the size."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    few = Image.open(buffer).convert("RGB").quantize(160, dither=Image.Dither.NONE, kmeans=1)
    few.save(path, optimize=True)


# --- values ---------------------------------------------------------------------------------------


def formatter(unit: str) -> Callable[[float], str]:
    """How Grafana writes a value of this unit, about."""
    if unit.startswith("suffix:"):
        return lambda value: f"{short(value)} {unit.removeprefix('suffix:')}"
    return {"percentunit": percent, "s": seconds, "bytes": mebibytes, "short": short}[unit]


def written(value: float, unit: str) -> str:
    return "∞" if value == float("inf") else formatter(unit)(value)


def short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def percent(value: float) -> str:
    return f"{100 * value:.3g} %" if abs(value) < 10 else f"{100 * value:.0f} %"


def seconds(value: float) -> str:
    for size, unit in ((60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return "0"


def mebibytes(value: float) -> str:
    return f"{value / 2**20:.3g} MiB"


# --- single numbers -------------------------------------------------------------------------------


def numbers(panel: Json) -> Figure:
    """Tiles, one for each moment at which the number was read."""
    figure = Figure(figsize=(6.4, 1.0))
    axes = figure.subplots(1, len(panel["numbers"]))
    for axis, (moment, value) in zip(axes, panel["numbers"].items(), strict=True):
        tile(axis, panel, moment, value)
    figure.subplots_adjust(0.01, 0.04, 0.99, 0.8, wspace=0.05)
    return figure


def tile(axis: Axes, panel: Json, moment: str, value: float | None) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    text = "No data" if value is None else written(value, defaults["unit"])
    colour = GREY if value is None else COLOURS[reached(defaults, value)["color"]]
    axis.set_axis_off()
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.add_patch(FancyBboxPatch((0.03, 0.05), 0.94, 0.9, "round,pad=0.02", fc=colour, ec="none"))
    axis.text(0.5, 0.5, text, color="white", size=15, weight="bold", ha="center", va="center")
    axis.set_title(moment, size=8, color=GREY, pad=3)


def reached(defaults: Json, value: float) -> Json:
    """The last of the thresholds that the value reaches; the first has none."""
    first, *others = defaults["thresholds"]["steps"]
    step: Json = [first, *(step for step in others if value >= step["value"])][-1]
    return step


# --- graphs over time -----------------------------------------------------------------------------


def graph(panel: Json, answers: Json) -> Figure:
    figure = Figure(figsize=(6.4, 2.5))
    axis = figure.subplots()
    axis.set_xlim(0, answers["length"])
    axis.xaxis.set_major_locator(mpl.ticker.MultipleLocator(60))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value / 60:g} min")
    draw = {"timeseries": lines, "heatmap": heatmap, "state-timeline": states}[panel["type"]]
    draw(axis, panel)
    mark(axis, answers["chapters"])
    beneath = -(-len(axis.get_legend().get_texts()) // 4) if axis.get_legend() else 1
    figure.subplots_adjust(0.16, 0.19 + 0.06 * beneath, 0.985, 0.9)
    return figure


def mark(axis: Axes, chapters: Sequence[Json]) -> None:
    """Shade when something happened, with its letter above."""
    for chapter in chapters:
        ends = max(chapter["ends"], chapter["at"] + 1)
        axis.axvspan(chapter["at"], ends, color="#000000", alpha=0.07, lw=0, zorder=0)
        axis.text(
            (chapter["at"] + ends) / 2,
            1.03,
            chapter["mark"],
            transform=axis.get_xaxis_transform(),
            ha="center",
            color=GREY,
            size=8,
        )


def lines(axis: Axes, panel: Json) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    drawn = sorted(panel["lines"], key=lambda line: str(line["name"]))
    colours = colours_of(drawn, panel["fieldConfig"]["overrides"])
    if defaults["custom"]["stacking"]["mode"] == "normal":
        stack(axis, drawn, colours)
    else:
        for line, colour in zip(drawn, colours, strict=True):
            for part in parts(line["points"]):
                axis.plot(*zip(*part, strict=True), color=colour, lw=1.2)
    legend(axis, [line["name"] for line in drawn], colours)
    if panel["dots"]:
        axis.plot(*zip(*panel["dots"], strict=True), ".", ms=2.2, color="#9b59b6", alpha=0.6)
    axis.set_ylim(0, 1.04 * max(axis.dataLim.ymax, defaults.get("max", 0)) or 1)
    for step in defaults["thresholds"]["steps"][1:]:
        axis.axhline(step["value"], color=COLOURS[step["color"]], lw=1, ls=(0, (4, 3)))
    write = formatter(defaults["unit"])
    axis.yaxis.set_major_locator(mpl.ticker.MaxNLocator(5, min_n_ticks=2))
    axis.yaxis.set_major_formatter(lambda value, _: write(value))


def colours_of(drawn: Sequence[Json], overrides: Sequence[Json]) -> list[str]:
    """A colour for each line: the one that the panel gives it, else one after the other."""
    given = {
        override["matcher"]["options"]: COLOURS[override["properties"][0]["value"]["fixedColor"]]
        for override in overrides
    }
    return [
        given.get(line["name"], LINES[number % len(LINES)]) for number, line in enumerate(drawn)
    ]


def parts(points: Sequence[Sequence[float]]) -> list[list[Sequence[float]]]:
    """Where there is no answer for more than two seconds, there is no line."""
    found: list[list[Sequence[float]]] = [list(points[:1])] if points else []
    for before, point in pairwise(points):
        if point[0] - before[0] > 2:
            found.append([])
        found[-1].append(point)
    return found


def stack(axis: Axes, drawn: Sequence[Json], colours: Sequence[str]) -> None:
    times = sorted({at for line in drawn for at, _ in line["points"]})
    heights = [dict(line["points"]) for line in drawn]
    rows = [[height.get(at, 0.0) for at in times] for height in heights]
    axis.stackplot(times, rows, colors=colours, alpha=0.75, lw=0)


def legend(axis: Axes, names: Sequence[str], colours: Sequence[str]) -> None:
    handles = [
        Line2D([], [], color=colour, lw=2, label=name)
        for name, colour in zip(names, colours, strict=True)
    ]
    axis.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.46, -0.13),
        ncols=min(4, len(names)),
        frameon=False,
        fontsize=7,
        handlelength=1.2,
        columnspacing=1.2,
    )


def heatmap(axis: Axes, panel: Json) -> None:
    by_bound = sorted(panel["lines"], key=lambda line: float(line["name"]))
    bounds = [float(line["name"]) for line in by_bound]
    times = sorted({at for line in by_bound for at, _ in line["points"]})
    counts = [[dict(line["points"]).get(at, 0.0) for at in times] for line in by_bound]
    below = [[0.0] * len(times), *counts[:-1]]
    cells = [
        [max(0.0, upper - lower) ** 0.5 for upper, lower in zip(row, under, strict=True)]
        for row, under in zip(counts, below, strict=True)
    ]
    edges = [*(at - 0.5 for at in times), times[-1] + 0.5]
    axis.pcolormesh(edges, range(len(bounds) + 1), cells, cmap="Blues", rasterized=True)
    heights = [(at, height(value, bounds)) for at, value in panel["dots"]]
    axis.plot(*zip(*heights, strict=True), ".", ms=2.2, color="#e8731b", alpha=0.6)
    axis.set_yticks(range(1, len(bounds)), [seconds(bound) for bound in bounds[:-1]])
    axis.grid(visible=False)
    axis.text(0, -0.22, "darker: more attempts", transform=axis.transAxes, size=7, color=GREY)


def height(value: float, bounds: Sequence[float]) -> float:
    """Where a value is on an axis on which all buckets are as high."""
    lower = 0.0
    for number, upper in enumerate(bounds):
        if value <= upper:
            return number + (0.5 if upper == float("inf") else (value - lower) / (upper - lower))
        lower = upper
    return float(len(bounds))


def states(axis: Axes, panel: Json) -> None:
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    drawn = sorted(panel["lines"], key=lambda line: str(line["name"]), reverse=True)
    for row, line in enumerate(drawn):
        for at, value in line["points"]:
            colour = COLOURS[mapping["options"][f"{value:g}"]["color"]]
            axis.broken_barh([(at - 0.5, 1.05)], (row - 0.35, 0.7), color=colour, lw=0, zorder=2)
    axis.set_yticks(range(len(drawn)), [line["name"] for line in drawn])
    axis.grid(visible=False)
    options = mapping["options"].values()
    legend(axis, [each["text"] for each in options], [COLOURS[each["color"]] for each in options])


if __name__ == "__main__":
    sys.exit(main())
