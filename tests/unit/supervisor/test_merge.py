"""The metrics of several processes become those of one: nothing falls, nothing is counted twice."""

from __future__ import annotations

import re
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition, parser

from fulfillment_worker.core.events import OrdersReceived, QueueRolledBack, QueueSurveyed
from fulfillment_worker.core.exchange import LimitUse
from fulfillment_worker.core.limits import Limits, Rate
from fulfillment_worker.observability.catalogue import CATALOGUE
from fulfillment_worker.observability.metrics import Metrics
from fulfillment_worker.observability.spec import Merge, MetricKind
from fulfillment_worker.supervisor.merge import Seat, merge, retire
from fulfillment_worker.supervisor.merged_metrics import Merged
from fulfillment_worker.supervisor.snapshot import Key, Snapshot, take
from tests.unit.observability.support import attempt, new_metrics, series, survey
from tests.unit.observability.test_catalogue import _promtool

NOW = 5000.0


def key(name: str, **labels: str) -> Key:
    return (name, tuple(labels.items()))


def at(merged: Snapshot, name: str, **labels: str) -> float:
    return merged.families[name.removesuffix("_total")][key(name, **labels)]


def fleet(*seats: Seat, own: Metrics | None = None) -> Snapshot:
    metrics = own or new_metrics()
    return merge(take(metrics.registry), {str(n): seat for n, seat in enumerate(seats)}, NOW)


def received(count: int) -> Metrics:
    metrics = new_metrics()
    metrics.observe(OrdersReceived("orders", count))
    return metrics


def surveyed(**given: Any) -> Snapshot:
    now = [given.get("at", 2_000_000) / 1000]
    metrics = new_metrics(clock=lambda: now[0])
    metrics.observe(QueueSurveyed("orders", survey(**given)))
    now[0] = NOW - 1
    return take(metrics.registry, lambda: NOW - 1)


def running(*metrics: Metrics) -> Seat:
    return Seat(running=tuple(take(each.registry) for each in metrics))


# --- counters -------------------------------------------------------------------------------------


def test_counters_and_histograms_are_added_up_with_the_supervisors_own() -> None:
    first, second, own = received(3), received(4), received(5)
    for metrics in (first, second):
        metrics.observe(attempt(duration=0.02))
    merged = fleet(running(first), running(second), own=own)
    assert at(merged, "orders_received_total") == 12
    name = "order_processing_duration_seconds"
    assert merged.families[name][key(f"{name}_count", status="success")] == 2
    assert merged.families[name][key(f"{name}_bucket", status="success", le="0.025")] == 2
    assert merged.families[name][key(f"{name}_bucket", status="success", le="0.01")] == 0


def test_counter_of_a_queue_is_added_up_by_its_name_and_outlives_the_process() -> None:
    queues = ("orders", "rush")
    name = "fulfillment_queue_rollbacks_total"
    first, second, gone = (new_metrics(*queues) for _ in range(3))
    for metrics in (first, second, gone):
        metrics.observe(QueueRolledBack("rush", before=9, now=4))
    seats = running(first), running(second), Seat(gone=retire(Snapshot(), take(gone.registry)))
    merged = fleet(*seats, own=new_metrics(*queues))
    assert at(merged, name, queue="rush") == 3
    assert at(merged, name, queue="orders") == 0


def test_what_a_process_counted_stays_when_it_has_ended() -> None:
    gone = retire(Snapshot(), take(received(3).registry))
    gone = retire(gone, take(received(4).registry))
    assert at(fleet(Seat(gone=gone)), "orders_received_total") == 7
    assert at(fleet(Seat(gone, running(received(1)).running)), "orders_received_total") == 8


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["report", "end"]), st.integers(0, 9)),
        max_size=30,
    )
)
def test_no_counter_ever_falls(steps: list[tuple[int, str, int]]) -> None:
    """Whatever reports and ends in whatever order, what is served only grows."""
    own = take(new_metrics().registry)
    seats = {str(n): Seat() for n in range(3)}
    counts = dict.fromkeys(seats, 0)
    before = merge(own, seats, NOW)
    for number, what, more in steps:
        name = str(number)
        seat = seats[name]
        if what == "report":
            counts[name] += more
            seats[name] = Seat(seat.gone, (take(received(counts[name]).registry),))
        elif seat.running:
            seats[name] = Seat(retire(seat.gone, seat.running[-1]))
            counts[name] = 0
        after = merge(own, seats, NOW)
        for spec in CATALOGUE:
            if spec.kind is not MetricKind.GAUGE:
                for each, value in before.families[spec.family].items():
                    assert after.families[spec.family][each] >= value, each
        before = after


CPU_SECONDS = "process_cpu_seconds_total"


def spent(seconds: float) -> Snapshot:
    return Snapshot({"process_cpu_seconds": {key(CPU_SECONDS): seconds}})


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=8).flatmap(
        lambda each: st.tuples(st.just(each), st.permutations(each))
    )
)
def test_no_sum_of_seconds_falls_in_whatever_order_processes_end(
    seconds: tuple[list[float], list[float]],
) -> None:
    started, ended = seconds
    of_seat = key(CPU_SECONDS, process="0")
    running = tuple(spent(each) for each in started)
    seat = Seat(running=running)
    before = merge(Snapshot(), {"0": seat}, NOW).series("process_cpu_seconds")[of_seat]
    assert before == pytest.approx(sum(started), abs=1e-5)
    for each in ended:
        left = list(seat.running)
        left.remove(spent(each))
        seat = Seat(retire(seat.gone, spent(each)), tuple(left))
        after = merge(Snapshot(), {"0": seat}, NOW).series("process_cpu_seconds")[of_seat]
        assert after == before


def test_exemplars_survive_their_process() -> None:
    metrics = new_metrics()
    metrics.observe(attempt(trace_id="a" * 32))
    gone = retire(Snapshot(), take(metrics.registry))
    merged = fleet(Seat(gone=gone))
    labels = [exemplar.labels for exemplar in merged.exemplars.values()]
    assert labels == [{"trace_id": "a" * 32}]


# --- gauges ---------------------------------------------------------------------------------------


def test_depths_are_those_of_the_newest_survey_and_never_a_sum() -> None:
    older, newer = surveyed(at=2_000_000, waiting=9, dead=1), surveyed(at=2_001_000, waiting=4)
    for seats in ((older, newer), (newer, older)):
        merged = fleet(*(Seat(running=(each,)) for each in seats))
        assert at(merged, "fulfillment_queue_depth") == 4
        assert at(merged, "fulfillment_dead_letter_depth") == 0
        assert at(merged, "fulfillment_queue_sample_timestamp_seconds") == 2001


def test_depths_outlive_the_process_that_read_them() -> None:
    gone = retire(Snapshot(), surveyed(waiting=9, received=1))
    merged = fleet(Seat(gone, running(new_metrics()).running))
    assert at(merged, "fulfillment_queue_depth") == 9
    assert at(merged, "orders_unaccounted") == 1


def test_each_queue_has_its_own_newest_survey() -> None:
    sides = []
    for queue, waiting in (("orders", 3), ("express", 7)):
        metrics = new_metrics("orders", "express")
        metrics.observe(QueueSurveyed(queue, survey(waiting=waiting)))
        sides.append(running(metrics))
    merged = fleet(*sides, own=new_metrics("orders", "express"))
    assert at(merged, "fulfillment_queue_depth", queue="orders") == 3
    assert at(merged, "fulfillment_queue_depth", queue="express") == 7


def test_limits_are_those_of_the_newest_survey_and_infinite_where_there_is_none() -> None:
    limited = Limits(rate=Rate(500, "h"), in_flight=20)
    old = surveyed(at=2_000_000, limits=Limits(rate=Rate(9, "s")), used=LimitUse(started=9))
    new = surveyed(at=2_001_000, limits=limited, used=LimitUse(started=70, parked=3))
    for seats in ((old, new), (new, old)):
        merged = fleet(*(Seat(running=(each,)) for each in seats))
        assert at(merged, "fulfillment_limit", limit="rate") == 500
        assert at(merged, "fulfillment_limit", limit="in_flight") == 20
        assert at(merged, "fulfillment_limit", limit="per_key") == inf
        assert at(merged, "fulfillment_limit_used", limit="rate") == 70
        assert at(merged, "fulfillment_limit_used", limit="per_key") == 3
    assert at(fleet(running(new_metrics())), "fulfillment_limit", limit="rate") == inf


def test_no_order_ages_while_none_waits() -> None:
    """The report is older than the scrape, but "nothing waits" goes on being so."""
    name = "fulfillment_queue_oldest_order_timestamp_seconds"
    assert at(fleet(Seat(running=(surveyed(),))), name) == NOW
    waits = surveyed(waiting=1, oldest=1_500_000)
    assert at(fleet(Seat(running=(waits,))), name) == 1500


def test_slots_add_up_over_those_that_run() -> None:
    two = fleet(running(new_metrics()), running(new_metrics()))
    assert at(two, "fulfillment_worker_slots") == 100
    gone = retire(Snapshot(), take(new_metrics().registry))
    assert at(fleet(Seat(gone), Seat(gone)), "fulfillment_worker_slots") == 0


def test_the_loop_of_each_process_is_seen() -> None:
    """An alert on a stuck loop sees the worst, and names it."""
    stuck, turning = new_metrics(), new_metrics()
    stuck.looped(100.0, 0.0)
    turning.looped(900.0, 0.0)
    merged = fleet(running(turning), running(stuck))
    name = "fulfillment_worker_last_loop_timestamp_seconds"
    assert at(merged, name, process="1") == 100
    assert min(v for k, v in merged.families[name].items() if v) == 100


def test_a_seat_that_nobody_takes_is_starting() -> None:
    consuming = new_metrics()
    consuming.state("consuming")
    merged = fleet(running(consuming), Seat())
    name = "fulfillment_worker_state"
    assert at(merged, name, state="consuming", process="0") == 1
    assert at(merged, name, state="starting", process="0") == 0
    assert at(merged, name, state="starting", process="1") == 1
    assert not any(dict(labels)["process"] == "supervisor" for _, labels in merged.families[name])


def test_of_two_in_one_seat_the_newer_is_shown_and_both_count() -> None:
    old, new = received(2), received(1)
    old.tasks(500)
    new.tasks(7)
    merged = fleet(running(old, new))
    assert at(merged, "python_asyncio_tasks", process="0") == 7
    assert at(merged, "orders_received_total") == 3


# --- the page -------------------------------------------------------------------------------------


def merged_page(*seats: Seat, own: Metrics | None = None) -> Merged:
    by_name = {str(n): seat for n, seat in enumerate(seats)}
    return Merged((own or new_metrics()).registry, lambda: by_name)


def without_process(line: str) -> str:
    return re.sub(r'process="\w+",|,?process="\w+"', "", line).replace("{}", "")


@pytest.mark.parametrize("seats", [(Seat(), Seat()), (running(new_metrics()), Seat())])
def test_the_series_are_those_of_one_process_apart_from_the_label(seats: tuple[Seat, ...]) -> None:
    page = generate_latest(merged_page(*seats).registry).decode()
    shown = {line.rpartition(" ")[0] for line in page.splitlines() if not line.startswith("#")}
    assert {without_process(each) for each in shown} == series(new_metrics())
    labelled = {each.partition("{")[0] for each in shown if "process=" in each}
    apart = {spec.name for spec in CATALOGUE if spec.merging in (Merge.EACH, Merge.EACH_WORKER)}
    plain = {each.removesuffix(end) for each in labelled for end in ("_bucket", "_sum", "_count")}
    assert apart <= plain | labelled


def test_promtool_has_nothing_to_say_about_the_merged_page() -> None:
    page = generate_latest(merged_page(running(new_metrics()), Seat()).registry).decode()
    checked = _promtool(page)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_merged_page_is_valid_openmetrics_with_its_exemplars() -> None:
    metrics = new_metrics()
    metrics.observe(attempt(trace_id="b" * 32))
    registry = merged_page(running(metrics), Seat()).registry
    text: bytes = exposition.generate_latest(registry)  # type: ignore[no-untyped-call]
    families = list(parser.text_string_to_metric_families(text.decode()))  # type: ignore[no-untyped-call]
    assert len(families) == len(CATALOGUE)
    assert b'trace_id="' + b"b" * 32 in text


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_a_gauge_says_how_it_is_merged(spec: object) -> None:
    """A default would be wrong for some, and silently so."""
    assert isinstance(spec, type(CATALOGUE[0]))
    assert spec.kind is not MetricKind.GAUGE or spec.merge or spec.merging is Merge.EACH
    if spec.per_queue and spec.kind is MetricKind.GAUGE:
        assert spec.merging is not Merge.SUM, "every process sees the same queue"
