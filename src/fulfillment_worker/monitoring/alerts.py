"""Alerts: when to wake somebody, and when to write a ticket."""

from __future__ import annotations

from typing import Any

from fulfillment_worker.monitoring.target import Target


def alerts(target: Target) -> dict[str, Any]:
    """The alerts of a deployment, as the content of a rule file of Prometheus."""
    raise NotImplementedError(target)
