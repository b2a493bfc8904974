"""`python -m fulfillment_worker` is `fulfillment-worker`."""

from __future__ import annotations

import sys

from fulfillment_worker.runtime.init import leave_process_1
from fulfillment_worker.system.signals import hear, leave


def main() -> None:
    """Run the command line, and exit."""
    leave_process_1()
    if sys.argv[1:2] == ["run"]:
        # What follows takes a while to load, and a signal that comes meanwhile is heard.
        hear(leave)
    from fulfillment_worker.cli.main import main as command  # noqa: PLC0415

    command()


if __name__ == "__main__":
    main()
