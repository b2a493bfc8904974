"""What there is to say about a metric."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class MetricKind(StrEnum):
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


class Merge(StrEnum):
    """What becomes of a metric where a supervisor reports for several processes."""

    SUM = "sum"  # counters and histograms: of all there ever were; gauges: of those that run
    MAX = "max"
    NEWEST = "newest"  # of the process that has surveyed the queue last
    SINCE = "since"  # the same; a moment after the report was begun means: now
    EACH = "each"  # one series for each process, the supervisor's among them
    EACH_WORKER = "each_worker"  # one series for each worker process


class MetricSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. values: for each label, all its values; empty where only a start can tell.

    per_queue: it has a `queue` label too, where a worker serves several queues.
    merge: a gauge must say it; counters and histograms are summed, the runtime's stay apart.
    why: what a person learns from it, and why it is measured in this way.
    """

    name: str
    kind: MetricKind
    help: str
    why: str
    labels: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = ()
    per_queue: bool = False
    source: Source = Source.EVENTS
    merge: Merge | None = None

    @property
    def merging(self) -> Merge:
        """How it is merged, said or not."""
        if self.merge is not None:
            return self.merge
        if self.source in (Source.RUNTIME, Source.LIBRARY):
            return Merge.EACH
        return Merge.MAX if self.kind is MetricKind.GAUGE else Merge.SUM

    @property
    def family(self) -> str:
        """Its name as the client library has it."""
        return self.name.removesuffix("_total")
