"""Draws what `make bench-peers` found last, for docs/performance.md.

.venv/bin/python -m benchmarks.plot [OUTPUT.SVG]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from benchmarks.kit.figures import RESULTS
from benchmarks.kit.subject import PROGRAMS
from benchmarks.peers.install import ROOT, python_environment


def main(given: Sequence[str]) -> None:
    """In an environment of its own: the project has no need of matplotlib."""
    source = RESULTS / "peers.json"
    if not source.exists():
        raise SystemExit(f"{source} is not there: run make bench-peers first")
    target = given[0] if given else str(ROOT / "docs" / "performance.svg")
    python = python_environment("plot", ROOT / "requirements" / "panels.txt") / "bin" / "python"
    subprocess.run([str(python), str(PROGRAMS / "plot.py"), str(source), target], check=True)
    print(target)


if __name__ == "__main__":
    main(sys.argv[1:])
