"""`python -m tests.simulation`: worlds by their seeds. See docs/reliability.md."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import closing
from dataclasses import asdict
from typing import Any

from tests.simulation.pool import run_apart, servers
from tests.simulation.regressions import Regression
from tests.simulation.server import Server
from tests.simulation.shrink import shrunk
from tests.simulation.story import told
from tests.simulation.world import Outcome, run_world

_EXAMPLES = """\
examples:
  make simulate SEEDS=10000                     seeds 1 to 10000, on all cores, until one fails
  make simulate SEED=1234                       one seed; it ends with the hash of its history
  make simulate SEED=1234 ARGS=--trace          its history as a story
  make simulate SEED=1234 ARGS=--history        its history as JSON lines, for the checker
  make simulate SEED=1234 ARGS=--shrink         takes faults away while it still fails
"""
_EVERY = 0.5
"""Seconds between two lines of progress."""


def main(args: list[str]) -> int:
    """Returns the exit code: 1 where a world broke a rule."""
    options = _parser().parse_args(args)
    if options.seed is not None:
        return _one(options)
    return _many(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Run simulated worlds.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=100, help="how many (default 100)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (default 1)")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--only", help="ids of the faults that may happen, separated by spaces")
    parser.add_argument("--faults", type=int, help="stop when so many faults have happened")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--go-on", action="store_true", help="don't stop at the first failure")
    parser.add_argument("--trace", action="store_true", help="tell the world's history as a story")
    parser.add_argument("--history", action="store_true", help="print its history as JSON lines")
    parser.add_argument("--shrink", action="store_true", help="find the faults that are needed")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


# --- one world ------------------------------------------------------------------------------------


def _one(options: argparse.Namespace) -> int:
    only = frozenset(options.only.split()) if options.only is not None else None
    with servers() as server:
        if options.shrink:
            return _shrink(server, options.seed, only)
        outcome = run_world(server, options.seed, only=only, keep=options.trace or options.history)
    for line in outcome.lines:
        print(line if options.history else told(line))
    to = sys.stderr if options.history else sys.stdout
    print(
        f"seed {outcome.seed}: {outcome.took:.1f} virtual s, {len(outcome.happened)} faults, "
        f"history {outcome.hash[:16]}",
        file=to,
    )
    for violation in outcome.violations:
        print(f"  {violation.t:.6f}  {violation.rule}: {violation.what}", file=to)
    return 1 if outcome.violations else 0


def _shrink(server: Server, seed: int, only: frozenset[str] | None) -> int:
    found = shrunk(
        lambda faults: run_world(server, seed, only=faults),
        only,
        lambda left, tried: _progress(f"{left} faults are left after {tried} tries"),
    )
    _progress("")
    if found is None:
        print(f"seed {seed} breaks no rule")
        return 0
    faults, violation = found
    print(f"seed {seed} still fails with {len(faults)} faults: {violation.rule}: {violation.what}")
    print(f"  make simulate SEED={seed} ARGS='--trace --only \"{' '.join(faults)}\"'")
    print("As a regression test, in tests/simulation/regressions.py:")
    print(f"  {Regression(seed, ' '.join(faults), 'what it was')!r},")
    return 1


# --- many worlds ----------------------------------------------------------------------------------


def _many(options: argparse.Namespace) -> int:
    began = time.monotonic()
    total: dict[str, Any] = {"seeds": 0, "faults": 0, "virtual_seconds": 0.0}
    failed: list[Outcome] = []
    seeds = range(options.first, options.first + options.seeds)
    with closing(run_apart(seeds, options.jobs)) as outcomes:
        for outcome in outcomes:
            total["seeds"] += 1
            total["faults"] += len(outcome.happened)
            total["virtual_seconds"] += outcome.took
            if outcome.violations:
                failed.append(outcome)
                _progress("")
                first = outcome.violations[0]
                if not options.json:
                    print(f"seed {outcome.seed}: {first.rule}: {first.what}", flush=True)
            _tell(total, options, began)
            enough = options.faults is not None and total["faults"] >= options.faults
            if enough or (failed and not options.go_on):
                break
    _progress("")
    return _report(total, failed, began, as_json=options.json)


def _tell(total: dict[str, Any], options: argparse.Namespace, began: float) -> None:
    took = time.monotonic() - began
    done = total["seeds"] / options.seeds
    if options.faults is not None:
        done = max(done, total["faults"] / options.faults)
    bar = "#" * int(30 * min(1.0, done))
    _progress(
        f"[{bar:<30}] {total['seeds']} seeds, {total['faults']} faults, "
        f"{total['faults'] / took:,.0f} faults/s, "
        f"{total['virtual_seconds'] / took:,.0f} x real time"
    )


def _report(total: dict[str, Any], failed: list[Outcome], began: float, *, as_json: bool) -> int:
    took = time.monotonic() - began
    seeds = sorted(outcome.seed for outcome in failed)
    if as_json:
        broken = [asdict(outcome.violations[0]) for outcome in failed]
        said = {"seconds": round(took, 1), "failed": seeds, "violations": broken}
        print(json.dumps(total | said))
    else:
        print(
            f"{total['seeds']} seeds, {total['faults']} faults, "
            f"{total['virtual_seconds']:,.0f} virtual s in {took:,.0f} s "
            f"({total['faults'] / took:,.0f} faults/s, "
            f"{total['virtual_seconds'] / took:,.0f} x real time): "
            f"{len(failed)} broke a rule"
        )
    if seeds and not as_json:
        print(f"replay with: make simulate SEED={seeds[0]} ARGS=--trace")
    return 1 if failed else 0


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
