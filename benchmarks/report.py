"""Puts the tables that benchmarks printed last into docs/performance.md.

    .venv/bin/python -m benchmarks.report

Between `<!-- figures: NAME -->` and `<!-- end of NAME -->`, the page shows what benchmark NAME told
and on what machine. What was not run since the results were removed stays as it is.
"""

from __future__ import annotations

import json
import re

from benchmarks.kit import figures
from benchmarks.peers.install import ROOT

PAGE = ROOT / "docs" / "performance.md"


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(filled(PAGE.read_text()))


def filled(page: str) -> str:
    """The page with the last results in their places."""
    place = r"(<!-- figures: (\w+) -->\n).*?(\n<!-- end of \2 -->)"
    return re.sub(place, _fill, page, flags=re.DOTALL)


def _fill(place: re.Match[str]) -> str:
    told = figures.RESULTS / f"{place[2]}.md"
    if not told.exists():
        return place[0]
    machine = json.loads(told.with_suffix(".json").read_text())["machine"]
    where = ", ".join(
        [
            f"{machine['cores']} cores of {machine['cpu']}",
            f"Linux {machine['kernel']}",
            f"Python {machine['python']}",
            machine["server"],
            f"load {machine['load']} at the end",
        ]
    )
    return f"{place[1]}\n{told.read_text()}\nMeasured on {machine['date']}: {where}.\n{place[3]}"


if __name__ == "__main__":
    main()
