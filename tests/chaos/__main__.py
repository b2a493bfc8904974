"""`python -m tests.chaos`: a fleet under load and under faults, and an audit at the end."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.chaos.report import as_table, as_words, make_report
from tests.chaos.run import run


def main() -> int:
    """0 only if every rule was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="what the plan follows from")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()
    # Told to stop, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results = run(arguments.faults, arguments.seed, lambda text: print(text, file=sys.stderr))
    report = make_report(arguments.seed, results)
    print(report.to_json() if arguments.json else f"{as_table(report)}\n\n{as_words(report)}")
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
