"""What there is to say about a metric."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """The Prometheus type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Source(StrEnum):
    """Who feeds a metric."""

    EVENTS = "events"  # an instrument of the client library, fed by `Metrics`
    PLAIN = "plain"  # plain integers, for counters that must not take a lock
    RUNTIME = "runtime"  # read from Python or the kernel at scrape time
    LIBRARY = "library"  # the client library's own collectors


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. values: for each label, all its values; empty where only a start can tell.

    per_queue: it has a `queue` label too, where a worker serves several queues.
    why: what a person learns from it, and why it is measured in this way.
    """

    name: str
    kind: Kind
    help: str
    why: str
    labels: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = ()
    per_queue: bool = False
    source: Source = Source.EVENTS
