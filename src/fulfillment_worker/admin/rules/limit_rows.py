"""What limits are set, and how much of them is used, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fulfillment_worker.core.exchange import LimitUse
from fulfillment_worker.core.limits import UNIT_NAMES, Limits
from fulfillment_worker.core.text import visible


class LimitRow(NamedTuple):
    """limit: what is set. used: in words."""

    name: str
    limit: str
    used: str


def limit_rows(limits: Limits, used: LimitUse, in_flight: int) -> Iterator[LimitRow]:
    """A row for each limit. in_flight: orders that workers hold."""
    if limits.rate:
        started = f"{used.started} in the last {UNIT_NAMES[limits.rate.per]}"
        yield LimitRow("rate", f"{limits.rate}, {limits.largest_burst} at once", started)
    if limits.in_flight is not None:
        yield LimitRow("in flight", str(limits.in_flight), str(in_flight))
    if limits.per_key is not None:
        each = [f"{limits.at_once} at once"] if limits.at_once else []
        if limits.key_rate:
            each.append(f"{limits.key_rate}, {limits.largest_key_burst} at once")
        keyed = f"{used.keyed} orders with a key are in flight, {used.parked} wait for theirs"
        yield LimitRow(f"per key {visible(limits.per_key)}", "; ".join(each), keyed)
