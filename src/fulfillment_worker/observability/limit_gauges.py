"""The gauges of the fleet's limits on one queue."""

from __future__ import annotations

from math import inf

from fulfillment_worker.core.exchange import Survey
from fulfillment_worker.observability.catalogue_limits import LIMIT, LIMIT_USED, LIMITS
from fulfillment_worker.observability.instruments import Instruments


class LimitGauges:
    """Set by each survey; infinite before the first, as where there is no limit."""

    def __init__(self, made: Instruments, queue: str) -> None:
        self._limits = [made.queue_gauge(LIMIT, queue, name) for name in LIMITS]
        self._used = [made.queue_gauge(LIMIT_USED, queue, name) for name in LIMITS]
        for gauge in self._limits:
            gauge.set(inf)

    def show(self, survey: Survey) -> None:
        """Show the limits, and what is used of each."""
        limits, used = survey.limits, survey.used
        most = limits.rate.count if limits.rate else None, limits.in_flight, limits.at_once
        for gauge, limit in zip(self._limits, most, strict=True):
            gauge.set(inf if limit is None else limit)
        many = used.started, survey.in_flight, used.parked
        for gauge, number in zip(self._used, many, strict=True):
            gauge.set(number)
