"""Recording rules: what alerts and dashboards share, computed once."""

from __future__ import annotations

from typing import Any

from fulfillment_worker.monitoring.target import Target


def rules(target: Target) -> dict[str, Any]:
    """The recording rules of a deployment, as the content of a rule file of Prometheus."""
    raise NotImplementedError(target)
