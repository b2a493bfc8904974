"""The metrics of several processes, merged into those of one: pure functions over snapshots.

How each metric is merged is said where it is declared (`MetricSpec.merge`). No counter ever falls:
what a process had counted when it ended stays with its seat, and the next one adds to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from fulfillment_worker.observability.catalogue import CATALOGUE
from fulfillment_worker.observability.catalogue_queue import QUEUE_SAMPLE
from fulfillment_worker.observability.spec import Merge, MetricKind, MetricSpec
from fulfillment_worker.supervisor.snapshot import NOW, Exemplar, Key, Series, Snapshot

LABEL = "process"
SUPERVISOR = "supervisor"

_MILLION = 1_000_000
_LASTING = (Merge.MAX, Merge.NEWEST, Merge.SINCE)


class Seat(msgspec.Struct, frozen=True):
    """What was heard from the processes that took one seat, one after the other.

    gone: what remains of those that ended. running: the last report of each that has not, the
    newest process last: while one drains, its successor runs already.
    """

    gone: Snapshot = Snapshot()
    running: tuple[Snapshot, ...] = ()


def retire(gone: Snapshot, last: Snapshot, catalogue: Sequence[MetricSpec] = CATALOGUE) -> Snapshot:
    """What remains when the process whose last report is `last` has ended."""
    both = (gone, last)
    kept = {spec.family: _remains(spec, both) for spec in catalogue if _outlives(spec)}
    return Snapshot(kept, _exemplars(both))


def merge(
    own: Snapshot,
    seats: Mapping[str, Seat],
    now: float,
    catalogue: Sequence[MetricSpec] = CATALOGUE,
) -> Snapshot:
    """The metrics of a supervisor and its seats. own: the supervisor's, with every series.

    seats: by the value of the label `process`. now: Unix seconds.
    """
    families = {spec.family: _merged(spec, own, seats, now) for spec in catalogue}
    return Snapshot(families, _exemplars(_all(own, seats.values())))


def _outlives(spec: MetricSpec) -> bool:
    return spec.kind is not MetricKind.GAUGE or spec.merging in _LASTING


def _remains(spec: MetricSpec, snapshots: Sequence[Snapshot]) -> Series:
    match spec.merging:
        case Merge.MAX:
            return _highest(snapshot.series(spec.family) for snapshot in snapshots)
        case Merge.NEWEST | Merge.SINCE:
            return _newest(spec.family, snapshots)
        case _:
            return _sum(snapshot.series(spec.family) for snapshot in snapshots)


def _merged(spec: MetricSpec, own: Snapshot, seats: Mapping[str, Seat], now: float) -> Series:
    match spec.merging:
        case Merge.EACH | Merge.EACH_WORKER:
            return _side_by_side(spec, own, seats)
        case Merge.SUM if spec.kind is MetricKind.GAUGE:
            running = (each for seat in seats.values() for each in seat.running)
            zeros = dict.fromkeys(own.series(spec.family), 0.0)
            return _sum([zeros, *(each.series(spec.family) for each in running)])
        case Merge.SINCE:
            series = _remains(spec, list(_all(own, seats.values())))
            return {key: now if value == NOW else value for key, value in series.items()}
        case _:
            return _remains(spec, list(_all(own, seats.values())))


def _side_by_side(spec: MetricSpec, own: Snapshot, seats: Mapping[str, Seat]) -> Series:
    series: Series = {}
    if spec.merging is Merge.EACH:
        series |= _labelled(own.series(spec.family), SUPERVISOR)
    for name, seat in seats.items():
        series |= _labelled(_of_seat(spec, own, seat), name)
    return series


def _of_seat(spec: MetricSpec, own: Snapshot, seat: Seat) -> Series:
    if spec.kind is not MetricKind.GAUGE:
        zeros = dict.fromkeys(own.series(spec.family), 0.0)
        counted = (each.series(spec.family) for each in (seat.gone, *seat.running))
        return _sum([zeros, *counted])
    if seat.running:
        return seat.running[-1].series(spec.family)
    # Nobody sits there now: a worker is as one that starts, and a process has no size.
    return own.series(spec.family) if spec.merging is Merge.EACH_WORKER else {}


def _labelled(series: Series, process: str) -> Series:
    return {(name, (*labels, (LABEL, process))): v for (name, labels), v in series.items()}


def _all(own: Snapshot, seats: Iterable[Seat]) -> Iterator[Snapshot]:
    yield own
    for seat in seats:
        yield seat.gone
        yield from seat.running


def _sum(parts: Iterable[Series]) -> Series:
    """Sums that don't depend on the order of their parts: each is counted in whole millionths.

    A sum of floats does: two processes that end in another order than they started would make
    3.48 s of CPU 3.4799999999999995, and Prometheus takes a counter that falls for one that began
    anew, and adds the whole of it again.
    """
    total: dict[Key, int] = {}
    for part in parts:
        for key, value in part.items():
            total[key] = total.get(key, 0) + _millionths(value)
    return {key: millionths / _MILLION for key, millionths in total.items()}


def _millionths(value: float) -> int:
    whole = int(value)
    return whole * _MILLION if whole == value else round(value * _MILLION)


def _highest(parts: Iterable[Series]) -> Series:
    highest: Series = {}
    for part in parts:
        for key, value in part.items():
            highest[key] = max(value, highest.get(key, value))
    return highest


def _newest(family: str, snapshots: Iterable[Snapshot]) -> Series:
    """Of each queue, what the process says that has surveyed it last: all are on one host."""
    newest: Series = {}
    sampled: dict[Key, float] = {}
    for snapshot in snapshots:
        samples = snapshot.series(QUEUE_SAMPLE.family)
        for key, value in snapshot.series(family).items():
            queue = tuple(label for label in key[1] if label[0] == "queue")
            at = samples.get((QUEUE_SAMPLE.name, queue), 0.0)
            if at >= sampled.get(key, at):
                newest[key], sampled[key] = value, at
    return newest


def _exemplars(snapshots: Iterable[Snapshot]) -> dict[Key, Exemplar]:
    newest: dict[Key, Exemplar] = {}
    for snapshot in snapshots:
        for key, exemplar in snapshot.exemplars.items():
            if key not in newest or exemplar.timestamp >= newest[key].timestamp:
                newest[key] = exemplar
    return newest
