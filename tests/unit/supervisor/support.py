"""Reports as children would make them."""

from __future__ import annotations

from fulfillment_worker.supervisor.messages import Report
from fulfillment_worker.supervisor.snapshot import Snapshot, take
from tests.unit.observability.support import attempt, new_metrics

OK = (True, "ok")


def report(
    at: float = 100.0,
    *,
    live: tuple[bool, str] = OK,
    ready: tuple[bool, str] = OK,
    snapshot: Snapshot | None = None,
) -> Report:
    return Report(at, at, {"orders": "host-1"}, live, ready, snapshot or Snapshot())


def having_run(attempts: int) -> Snapshot:
    metrics = new_metrics()
    for _ in range(attempts):
        metrics.observe(attempt())
    return take(metrics.registry)
