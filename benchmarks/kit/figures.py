"""Figures: medians with the least and the most, tables, and JSON beside them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.kit.machine import described

RESULTS = Path(__file__).parents[2] / ".benchmarks" / "results"


@dataclass(frozen=True)
class Figures:
    """What several rounds gave for one thing."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def shown(self, digits: int = 0) -> str:
        """The median, with the least and the most where there is more than one round."""
        middle = f"{self.median:,.{digits}f}"
        if len(self.values) == 1:
            return middle
        return f"{middle} ({min(self.values):,.{digits}f} to {max(self.values):,.{digits}f})"


def quantile(values: Iterable[float], share: float) -> float:
    """The value that this share of them doesn't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown whose columns line up in a terminal too."""
    lines = [list(heads), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )


class Report:
    """What a benchmark tells, printed as it comes, and kept: as Markdown and as JSON."""

    def __init__(self, name: str) -> None:
        """name: of the benchmark; its files are NAME.md and NAME.json."""
        self._name = name
        self._told: list[str] = []

    def tell(self, text: str) -> None:
        """A table, or a sentence about it."""
        print(text, end="\n\n", flush=True)
        self._told.append(text)

    def save(self, figures: dict[str, Any]) -> None:
        """Keep what was told, and the figures of all rounds with what the machine was."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        whole = json.dumps({"machine": described(), **figures}, indent=2)
        (RESULTS / f"{self._name}.json").write_text(whole + "\n")
        (RESULTS / f"{self._name}.md").write_text("\n\n".join(self._told) + "\n")
