"""The values of a registry at one moment, as plain data: what one process tells another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from fulfillment_worker.observability.catalogue import CATALOGUE
from fulfillment_worker.observability.spec import Merge

Key = tuple[str, tuple[tuple[str, str], ...]]
"""One series: the name of its samples, and its labels."""
Series = dict[Key, float]

NOW = inf
"""In place of a moment that came after the snapshot was begun: it goes on being now."""

_SINCE = frozenset(spec.family for spec in CATALOGUE if spec.merging is Merge.SINCE)


class Exemplar(msgspec.Struct, frozen=True, array_like=True):
    """An order that shows what a bucket counts. timestamp: Unix seconds."""

    labels: dict[str, str]
    value: float
    timestamp: float


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """families: by their name, without the `_total` of counters."""

    families: dict[str, Series] = {}
    exemplars: dict[Key, Exemplar] = {}

    def series(self, family: str) -> Series:
        """The values of one family; none where it isn't there."""
        return self.families.get(family, {})


def take(registry: CollectorRegistry, clock: Callable[[], float] = time.time) -> Snapshot:
    """What the registry tells now. clock: Unix seconds."""
    begun = clock()
    return snapshot_of(registry.collect(), begun)


def snapshot_of(metrics: Iterable[Metric], begun: float) -> Snapshot:
    """The values of these families. begun: when their collection was, in Unix seconds."""
    families: dict[str, Series] = {}
    exemplars: dict[Key, Exemplar] = {}
    for metric in metrics:
        series = families.setdefault(metric.name, {})
        for sample in metric.samples:
            key = (sample.name, tuple(sample.labels.items()))
            series[key] = float(sample.value)
            if sample.exemplar:
                exemplars[key] = _exemplar(sample.exemplar)
        if metric.name in _SINCE:
            series.update({key: NOW for key, moment in series.items() if moment >= begun})
    return Snapshot(families, exemplars)


def _exemplar(given: Any) -> Exemplar:
    return Exemplar(dict(given.labels), float(given.value), float(given.timestamp or 0.0))
