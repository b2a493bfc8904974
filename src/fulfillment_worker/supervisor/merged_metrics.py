"""The page of a supervisor: its own metrics, merged with what its processes reported last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample

from fulfillment_worker.supervisor.merge import Seat, merge
from fulfillment_worker.supervisor.snapshot import Key, Snapshot, snapshot_of


class Merged(Collector):
    """own: the supervisor's registry. seats: asked at each scrape; it must not wait for anybody."""

    def __init__(
        self,
        own: CollectorRegistry,
        seats: Callable[[], Mapping[str, Seat]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._own = own
        self._seats = seats
        self._clock = clock

    @property
    def registry(self) -> CollectorRegistry:
        """A registry of this alone, to be served."""
        registry = CollectorRegistry(auto_describe=True)
        registry.register(self)
        return registry

    def collect(self) -> Iterator[Metric]:
        """The merged families, in the order of the supervisor's own."""
        now = self._clock()
        families = list(self._own.collect())
        merged = merge(snapshot_of(families, now), self._seats(), now)
        for family in families:
            yield _family(family, merged)


def _family(like: Metric, merged: Snapshot) -> Metric:
    family = Metric(like.name, like.documentation, like.type)
    family.samples = [
        Sample(key[0], dict(key[1]), value, None, _exemplar(merged, key))
        for key, value in merged.series(like.name).items()
    ]
    return family


def _exemplar(merged: Snapshot, key: Key) -> Exemplar | None:
    found = merged.exemplars.get(key)
    return Exemplar(found.labels, found.value, found.timestamp or None) if found else None
