"""`python -m proofs.chaos`: a fleet under load and under faults, and an audit at the end."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import suppress
from pathlib import Path

from proofs.chaos.report import as_table, as_words, make_report
from proofs.chaos.run import Result, run


def main() -> int:
    """0 only if all faults were injected, and every rule was kept.

    Told to stop, it ends what it started, and shows what the rounds until then came to.
    """
    parser = argparse.ArgumentParser(prog="python -m proofs.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="what the plan follows from")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--history", type=Path, help="a folder for the history of each round")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results: list[Result] = []
    with suppress(SystemExit, KeyboardInterrupt):
        for result in run(arguments.faults, arguments.seed, _say, arguments.history):
            results.append(result)
    report = make_report(arguments.seed, results)
    print(report.to_json() if arguments.json else f"{as_table(report)}\n\n{as_words(report)}")
    return 0 if report.good and report.total.injected == arguments.faults else 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
