"""`fulfillment-worker` with nobody told of anything: no metric counts, nothing is logged.

There is no such setting. It shows what watching costs.
"""

from __future__ import annotations

from fulfillment_worker.cli.main import main
from fulfillment_worker.core.events import Event
from fulfillment_worker.observability.hooks import Observers


def _tell_nobody(self: Observers, event: Event) -> None:
    """In the place of Observers.observe."""


Observers.observe = _tell_nobody  # type: ignore[method-assign]
main()
