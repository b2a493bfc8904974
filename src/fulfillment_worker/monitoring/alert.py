"""What there is to say about an alert."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec

from fulfillment_worker.monitoring.target import PER_TARGET, Target

A = ", ".join(PER_TARGET)
"""What aggregations are made without."""

QUEUE = "{{ with $labels.queue }} of {{ . }}{{ end }}"
"""In a text: the name of the queue, where there are several."""


WORKER = "{{ $labels.instance }}{{ with $labels.process }} ({{ . }}){{ end }}"
"""Likewise: which worker, and which of its processes, where a supervisor has several."""


class AlertSeverity(StrEnum):
    """Whom an alert goes to; its label `severity`."""

    PAGE = "page"  # somebody, now
    TICKET = "ticket"  # somebody, in working hours
    NONE = "none"  # a dead man's switch


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert.

    expr: the PromQL for a deployment. wait: for how long it must hold, "" for not at all.
    summary: what customers notice. description: what was seen. Both are templates of Prometheus.
    """

    name: str
    severity: AlertSeverity
    expr: Callable[[Target], str]
    wait: str
    summary: str
    description: str

    @property
    def anchor(self) -> str:
        """Of its runbook, as it is made of the heading."""
        return self.name.lower()

    def rule(self, target: Target) -> dict[str, Any]:
        """As a rule file has it."""
        waiting = {"for": target.window(self.wait)} if self.wait else {}
        return {
            "alert": self.name,
            "expr": self.expr(target),
            **waiting,
            "labels": {"severity": str(self.severity)},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{target.runbooks}#{self.anchor}",
            },
        }


def happened(target: Target, counter: str, window: str) -> str:
    """Whether it was counted in the window, also by a worker that Prometheus has met only since.

    `increase` starts at the first scrape, and what a worker counts before that would be missed:
    one that has just started is the very one to find the orders of another that died.
    """
    counted = target.of(counter)
    # The processes of a supervisor come and go, but what it counts does so only with itself.
    started = target.of("process_start_time_seconds", 'process=~"|supervisor"')
    age = f"time() - {started} < {target.seconds(window)}"
    return (
        f"sum without ({A}) (increase({counted}[{target.window(window)}])) > 0\nor\n"
        f"sum without ({A}) ({counted} and on (job, instance) {age}) > 0"
    )
