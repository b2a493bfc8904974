"""Counters and histograms of plain numbers, for places where taking a lock could deadlock.

The garbage collector can run at any instruction, also while this thread holds the lock of an
instrument, and what it runs (its callbacks, destructors that log) may count something. Adding
to a plain number in a list takes no lock, and can't be interrupted by Python code.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from fulfillment_worker.observability.spec import Spec


class PlainCounter(Collector):
    """A counter with at most one label, all of whose values are known. Unknown ones are ignored."""

    def __init__(self, spec: Spec) -> None:
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


class PlainHistogram(Collector):
    """A histogram with one label, all of whose values are known. Unknown ones are ignored."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._counts = {value: [0] * (len(spec.buckets) + 1) for value in spec.values[0]}
        self._sums = dict.fromkeys(spec.values[0], 0.0)

    def observe(self, label: str, amount: float) -> None:
        """Record one. Never raises, takes no lock."""
        if label in self._counts:
            self._counts[label][bisect_left(self._spec.buckets, amount)] += 1
            self._sums[label] += amount

    def collect(self) -> Iterator[Metric]:
        """The family, for the registry."""
        family = HistogramMetricFamily(self._spec.name, self._spec.help, labels=self._spec.labels)
        for label, counts in self._counts.items():
            family.add_metric([label], self._cumulated(counts), self._sums[label])
        yield family

    def _cumulated(self, counts: list[int]) -> list[tuple[str, float]]:
        bounds: Iterable[float] = (*self._spec.buckets, float("inf"))
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip(bounds, counts, strict=True):
            total += count
            le: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
            buckets.append((le, total))
        return buckets
