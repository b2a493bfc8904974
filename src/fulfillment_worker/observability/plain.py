"""Counters and histograms of plain numbers, for places where taking a lock could deadlock.

The garbage collector can run at any instruction, also while this thread holds the lock of an
instrument, and what it runs (its callbacks, destructors that log) may count something. Adding
to a plain number in a list takes no lock, and can't be interrupted by Python code. It is also four
times as fast, which matters for what is observed with every order.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, product

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from fulfillment_worker.observability.spec import MetricSpec


class PlainCounter(Collector):
    """A counter with at most one label, all of whose values are known. Unknown ones are ignored."""

    def __init__(self, spec: MetricSpec) -> None:
        self._spec = spec
        self._counts: dict[str, int] = dict.fromkeys(spec.values[0] if spec.values else ("",), 0)

    def add(self, label: str = "", count: int = 1) -> None:
        """Count one, or more. Never raises, takes no lock."""
        if label in self._counts:
            self._counts[label] += count

    def collect(self) -> Iterator[Metric]:
        """The family, for the registry."""
        family = CounterMetricFamily(self._spec.name, self._spec.help, labels=self._spec.labels)
        for label, count in self._counts.items():
            family.add_metric([label] if self._spec.labels else [], count)
        yield family


class Distribution:
    """One series of a histogram: its buckets, their sum, and an exemplar for each.

    To be fed by one thread. Whoever reads meanwhile may find a sum that is one observation ahead.
    """

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._exemplars: dict[int, tuple[str, float, float]] = {}

    def observe(self, amount: float) -> None:
        """Record one. Never raises, takes no lock; a NaN would spoil the sum for ever."""
        self._counts[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    def exemplify(self, amount: float, trace_id: str) -> None:
        """Name the trace of an observation, as the latest of its bucket."""
        bucket = bisect_left(self._bounds, amount)
        self._exemplars[bucket] = (trace_id, amount, time.time())

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Its samples, for a scrape."""
        # One step each, so that what is read hangs together whatever is counted meanwhile.
        counts, exemplars, total = list(self._counts), dict(self._exemplars), self._sum
        bounds: Iterable[float] = (*self._bounds, float("inf"))
        buckets = [
            (_le(bound), count, _exemplar(exemplars.get(bucket)))
            for bucket, (bound, count) in enumerate(zip(bounds, accumulate(counts), strict=True))
        ]
        family.add_metric(labels, buckets, total)  # type: ignore[arg-type]


class PlainHistogram(Collector):
    """A histogram, all of whose label values are known."""

    def __init__(self, spec: MetricSpec) -> None:
        self._spec = spec
        self._series = {values: Distribution(spec.buckets) for values in product(*spec.values)}

    def series(self, *values: str) -> Distribution:
        """The one with these label values. Raises KeyError for others."""
        return self._series[values]

    def collect(self) -> Iterator[Metric]:
        """The family, for the registry."""
        family = HistogramMetricFamily(self._spec.name, self._spec.help, labels=self._spec.labels)
        for values, series in self._series.items():
            series.add_to(family, values)
        yield family


def _le(bound: float) -> str:
    le: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
    return le


def _exemplar(kept: tuple[str, float, float] | None) -> Exemplar | None:
    return Exemplar({"trace_id": kept[0]}, kept[1], kept[2]) if kept else None
