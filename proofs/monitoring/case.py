"""What a case of an alert is, and the series of a worker."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

Series = dict[str, str]

JOB = 'job="fulfillment-worker"'


class Fires(NamedTuple):
    """One alert that is expected: its labels besides job and severity, and its description."""

    description: str
    labels: Mapping[str, str] = MappingProxyType({})


class Case(NamedTuple):
    """why: what is shown. at: when it is looked at. fires: what is expected; () for nothing."""

    alert: str
    why: str
    at: str
    series: Series
    fires: tuple[Fires, ...] = ()


def one(name: str, values: str, *more: str, instance: str = "a") -> Series:
    """A series of a worker. more: label matchers."""
    labels = ",".join([JOB, f'instance="{instance}"', *more])
    return {f"{name}{{{labels}}}": values}


def attempts(success: str, error: str) -> Series:
    return one("orders_processed_total", success, 'status="success"') | one(
        "orders_processed_total", error, 'status="error"'
    )


def completed(all_: str, punctual: str, le: str = "60.0") -> Series:
    name = "order_end_to_end_duration_seconds"
    return one(f"{name}_count", all_) | one(f"{name}_bucket", punctual, f'le="{le}"')


def queue(depth: str, received: str) -> Series:
    """What was looked at a moment ago."""
    return (
        one("fulfillment_queue_depth", depth)
        | one("orders_received_total", received)
        | one("fulfillment_queue_sample_timestamp_seconds", "0+60x200")
    )


def slots(busy: str) -> Series:
    return one("orders_in_progress", busy) | one("fulfillment_worker_slots", "10x200")


def oldest(since: str, *more: str, seen: str = "0+60x200", instance: str = "a") -> Series:
    name = "fulfillment_queue_oldest_order_timestamp_seconds"
    sampled = "fulfillment_queue_sample_timestamp_seconds"
    return one(name, since, *more, instance=instance) | one(sampled, seen, *more, instance=instance)


def counted(name: str, values: str, *more: str, started: str = "-86400x200") -> Series:
    """A counter of a worker that has run for a day, or was started then."""
    return one(name, values, *more) | one("process_start_time_seconds", started)


def redis(ok: str, error: str) -> Series:
    name = "fulfillment_redis_commands_total"
    return one(name, ok, 'operation="exchange"', 'outcome="ok"') | one(
        name, error, 'operation="exchange"', 'outcome="error"'
    )


def lag(quick: str, all_: str) -> Series:
    """quick: timers that were less than 250 ms late."""
    name = "python_asyncio_loop_lag_seconds_bucket"
    return (
        one(name, quick, 'le="0.25"') | one(name, all_, 'le="0.5"') | one(name, all_, 'le="+Inf"')
    )


def page(names: list[str]) -> Series:
    """A worker that is up and has these."""
    found = one("up", "1x30")
    for name in names:
        found |= one(name, "0x30")
    return found


A = {"instance": "a"}
