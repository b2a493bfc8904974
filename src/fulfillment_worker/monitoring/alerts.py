"""Alerts: when to wake somebody, and when to write a ticket."""

from __future__ import annotations

from typing import Any

from fulfillment_worker.monitoring.alert import Alert, AlertSeverity
from fulfillment_worker.monitoring.pages import PAGES
from fulfillment_worker.monitoring.target import Target, quoted
from fulfillment_worker.monitoring.tickets import TICKETS


def _always(target: Target) -> str:
    """True for ever, with the labels by which it is routed, as others have them."""
    expr = "vector(1)"
    for name, value in target.labels.items():
        expr = f'label_replace({expr}, "{name}", {quoted(value.replace("$", "$$"))}, "", "")'
    return expr


WATCHDOG = Alert(
    name="FulfillmentWatchdog",
    severity=AlertSeverity.NONE,
    expr=_always,
    wait="",
    summary="Alerting works.",
    description="This alert always fires. Send it to a dead man's switch: when it stops coming, "
    "Prometheus, Alertmanager or the way between them is broken, and no other alert would come.",
)

ALERTS: tuple[Alert, ...] = (*PAGES, *TICKETS, WATCHDOG)


def alerts(target: Target) -> dict[str, Any]:
    """The alerts of a deployment, as the content of a rule file of Prometheus."""
    groups = {
        "fulfillment-worker-pages": PAGES,
        "fulfillment-worker-tickets": TICKETS,
        "fulfillment-worker-watchdog": (WATCHDOG,),
    }
    return {
        "groups": [
            {"name": name, "rules": [alert.rule(target) for alert in group]}
            for name, group in groups.items()
        ]
    }
