"""Proof by fault of every alert: `python -m proofs.monitoring --healthy 60 [FAULT...]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from fulfillment_worker.config.values import Duration
from fulfillment_worker.monitoring.alerts import ALERTS
from proofs.monitoring.faults import FAULTS
from proofs.monitoring.proof import Proven, prove_all, prove_watchdog, stay_healthy
from proofs.monitoring.watch import Watch


def main() -> int:
    """0 where every alert came and went, and none came to the healthy."""
    parser = argparse.ArgumentParser(prog="make prove-alerts", description=__doc__)
    parser.add_argument("faults", nargs="*", choices=[[], *(fault.name for fault in FAULTS)])
    parser.add_argument("--healthy", type=Duration("0s", "1d"), default=60.0)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--only-healthy", action="store_true")
    given = parser.parse_args()
    faults = [each for each in FAULTS if not given.faults or each.name in given.faults]
    with tempfile.TemporaryDirectory(prefix="alerts-") as folder, Watch(Path(folder)) as watch:
        proven: list[Proven] = []
        failed: list[str] = []
        if not given.only_healthy:
            proven, failed = prove_all(faults, watch, Path(folder), at_once=given.at_once)
            proven.append(prove_watchdog(watch))
            tell(proven)
        false = stay_healthy(watch, Path(folder), given.healthy)
    print(f"\n{given.healthy:g} s of healthy workers under load: {len(false)} alerts")
    for line in (*failed, *false):
        print(line, file=sys.stderr)
    return 1 if failed or false else 0


def tell(proven: list[Proven]) -> None:
    """As a table of the docs has it."""
    print("| fault | alert | windows | fires after | mended by | resolved after |")
    print("| --- | --- | --- | --- | --- | --- |")
    order = [alert.name for alert in ALERTS]
    for each in sorted(proven, key=lambda each: order.index(each.alert)):
        print(
            f"| {each.what} | `{each.alert}` | 1/{each.factor:.0f} | {each.fired:.1f} s "
            f"| {each.mend} | {each.resolved:.1f} s |"
        )
    print(f"\n{len({each.alert for each in proven})} of {len(ALERTS)} alerts came and went")


if __name__ == "__main__":
    began = time.monotonic()
    code = main()
    print(f"took {time.monotonic() - began:.0f} s")
    sys.exit(code)
