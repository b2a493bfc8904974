"""The client library's instruments, made from the catalogue with every series that they can have.

A series that is born at its first event has no increase over it, so alerts would miss the first
error: all of them exist from the start, at 0.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.values import MutexValue

from fulfillment_worker.observability.catalogue import CATALOGUE
from fulfillment_worker.observability.plain import Distribution, PlainHistogram
from fulfillment_worker.observability.spec import MetricKind, MetricSpec, Source

_T = TypeVar("_T", Counter, Gauge)


class _Counter(Counter):
    """Kept in memory, whatever PROMETHEUS_MULTIPROC_DIR says.

    It is meant for the shop's own metrics: a web server beside the worker shows what is in it.
    """

    def _metric_init(self) -> None:
        self._value = _in_memory(self._type)
        self._created = time.time()


class _Gauge(Gauge):
    """As _Counter."""

    def _metric_init(self) -> None:
        self._value = _in_memory(self._type)


class Instruments:
    """All metrics that are fed by calls. `counter`, `gauge` and `histogram` give bound children.

    queues: their names become label values only where there are several.
    """

    def __init__(self, registry: CollectorRegistry, queues: Sequence[str]) -> None:
        self._registry = registry
        self._queues = tuple(queues) if len(queues) > 1 else ()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, PlainHistogram] = {}
        for spec in CATALOGUE:
            if spec.source is Source.EVENTS:
                self._make(spec)

    def counter(self, spec: MetricSpec, *values: str) -> Counter:
        """The child for these label values. Raises KeyError where it is no counter."""
        return _child(self._counters[spec.name], values)

    def gauge(self, spec: MetricSpec, *values: str) -> Gauge:
        """The child for these label values. Raises KeyError where it is no gauge."""
        return _child(self._gauges[spec.name], values)

    def histogram(self, spec: MetricSpec, *values: str) -> Distribution:
        """The series with these label values. Raises KeyError where it is no histogram."""
        return self._histograms[spec.name].series(*values)

    def queue_gauge(self, spec: MetricSpec, queue: str, *values: str) -> Gauge:
        """The child for a queue; the same for all where the metric has no such label.

        values: of the metric's own labels.
        """
        return self.gauge(spec, *values, *((queue,) if self._queues else ()))

    def queue_counter(self, spec: MetricSpec, queue: str) -> Counter:
        """Likewise the child of a counter."""
        return self.counter(spec, *((queue,) if self._queues else ()))

    def _make(self, spec: MetricSpec) -> None:
        labels, registry = self._labels(spec), self._registry
        match spec.kind:
            case MetricKind.COUNTER:
                counter = _Counter(spec.name, spec.help, labels, registry=registry)
                self._counters[spec.name] = self._with_children(counter, spec)
            case MetricKind.GAUGE:
                gauge = _Gauge(spec.name, spec.help, labels, registry=registry)
                self._gauges[spec.name] = self._with_children(gauge, spec)
            case MetricKind.HISTOGRAM:
                self._histograms[spec.name] = PlainHistogram(spec)
                registry.register(self._histograms[spec.name])

    def _labels(self, spec: MetricSpec) -> tuple[str, ...]:
        return (*spec.labels, "queue") if spec.per_queue and self._queues else spec.labels

    def _with_children(self, parent: _T, spec: MetricSpec) -> _T:
        values: tuple[tuple[str, ...], ...] = spec.values
        if spec.per_queue and self._queues:
            values = (*values, self._queues)
        for combination in product(*values):
            _child(parent, combination)
        return parent


def _in_memory(kind: str) -> MutexValue:
    # Only values in files need to know whose they are.
    return MutexValue(kind, "", "", (), (), "")  # type: ignore[no-untyped-call]


def _child(parent: _T, values: Sequence[str]) -> _T:
    return parent.labels(*values) if values else parent
