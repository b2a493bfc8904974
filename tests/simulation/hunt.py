"""`python -m tests.simulation.hunt`: plant each bug, and see within how many seeds it is found."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.simulation.mutants import SOURCE, Mutant, mutants, plant

_EXAMPLES = """\
examples:
  make hunt                       all bugs, each in up to 200 worlds
  make hunt ARGS="lease --seeds 50"   those with `lease` in their name
"""


@dataclass(frozen=True)
class Hunt:
    """What came of one. seeds: how many worlds it took; rule, what: of the violation, if found."""

    name: str
    kind: str
    seeds: int
    seconds: float
    rule: str = ""
    what: str = ""


def hunt(mutant: Mutant, seeds: int) -> Hunt:
    """Plant the bug in a copy of the package, and run worlds with it until one breaks a rule."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        package = Path(folder) / SOURCE.name
        shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
        plant(mutant, package)
        program = [sys.executable, "-m", "tests.simulation", "--jobs", "1", "--seeds", str(seeds)]
        done = subprocess.run(
            [*program, "--json"],
            env=os.environ | {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=SOURCE.parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
    took = time.monotonic() - began
    if done.returncode not in (0, 1) or not done.stdout:
        # It may not even come to a world: that is found, too, but not by a world.
        return Hunt(mutant.name, mutant.kind, 0, took, "crash", done.stderr.strip()[-300:])
    said = json.loads(done.stdout.splitlines()[-1])
    found = said["violations"][0] if said["violations"] else {}
    return Hunt(
        mutant.name,
        mutant.kind,
        said["seeds"],
        round(took, 1),
        found.get("rule", ""),
        found.get("what", ""),
    )


def main(args: list[str]) -> int:
    """Returns 1 where a bug was not found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.hunt",
        description="Plant bugs, and see whether worlds find them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", default="", help="only bugs with this in their name")
    parser.add_argument("--kind", help="only bugs of this kind: planted, past or model")
    parser.add_argument("--seeds", type=int, default=200, help="worlds for each (default 200)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="bugs at once")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args(args)
    wanted = [
        each
        for each in mutants()
        if options.name in each.name and options.kind in (None, each.kind)
    ]
    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for found in pool.map(lambda mutant: hunt(mutant, options.seeds), wanted):
            missed += not found.rule
            if options.json:
                print(json.dumps(asdict(found)), flush=True)
            else:
                result = found.rule or "NOT FOUND"
                print(
                    f"{found.kind:8} {found.name:66} {result:12} "
                    f"{found.seeds:4} seeds {found.seconds:6.1f} s",
                    flush=True,
                )
    print(f"{len(wanted) - missed} of {len(wanted)} were found", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
