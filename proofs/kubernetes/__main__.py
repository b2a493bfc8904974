"""`python -m proofs.kubernetes [ROUNDS]`: so many rounds from no worker to eight and back."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from proofs.kubernetes.rounds import Deployment
from tests.support.kubernetes import render

ORDERS, TAKES = 1800, 2.0


def main(rounds: int) -> int:
    """Play them, and print what was seen; 1 if an order was lost or recovered."""
    resources = render()
    most = resources["ScaledObject"]["spec"]["maxReplicaCount"]
    failed = 0
    with (
        tempfile.TemporaryDirectory(prefix="scaling-") as folder,
        Deployment(Path(folder), resources, most) as deployment,
    ):
        for number in range(rounds):
            found = deployment.round(number, ORDERS, TAKES)
            print(
                f"round {number + 1:2}: 0 -> {found.reached} -> 0 workers "
                f"in {found.seconds:.0f} s, {found.starts} starts, "
                f"{found.orders} orders of {TAKES:g} s, {found.retried} of them retried; "
                f"woken by {found.woken_by[-1]}",
                flush=True,
            )
            failed += found.reached != most
        print(f"{deployment.books}\nrecovered: {deployment.recovered:g}")
        deployment.audit()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
