"""What each event does to the metrics, and what no event can do to the worker."""

from __future__ import annotations

import gc
import threading
from contextlib import ExitStack
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulfillment_worker.core.events import (
    AttemptEnded,
    CommandSent,
    Gone,
    LeaseLost,
    OrderDuplicated,
    OrderInvalid,
    OrdersFulfilled,
    OrdersReceived,
    OrdersRecovered,
    OrdersRequeued,
    OrdersStarted,
    OrderStarted,
    ProcessCrashed,
    QueueLost,
    QueueRegained,
    QueueRolledBack,
    QueueSurveyed,
)
from fulfillment_worker.core.outcome import DeadReason, FailureReason
from fulfillment_worker.observability.catalogue import CRASHES
from fulfillment_worker.observability.hooks import Observers
from fulfillment_worker.observability.metrics import Metrics
from tests.unit.observability.support import (
    attempt,
    new_metrics,
    openmetrics,
    page,
    series,
    survey,
    value,
)

_SUCCESS, _ERROR = {"status": "success"}, {"status": "error"}
_DURATION = "order_processing_duration_seconds"


@pytest.fixture
def metrics() -> Metrics:
    return new_metrics()


def test_a_success(metrics: Metrics) -> None:
    metrics.observe(attempt(duration=0.02, end_to_end=3.0))
    assert value(metrics, "orders_processed_total", **_SUCCESS) == 1
    assert value(metrics, "orders_processed_total", **_ERROR) == 0
    assert value(metrics, f"{_DURATION}_sum", **_SUCCESS) == 0.02
    assert value(metrics, f"{_DURATION}_bucket", le="0.025", **_SUCCESS) == 1
    assert value(metrics, "order_end_to_end_duration_seconds_sum") == 3.0
    assert value(metrics, "order_last_processed_timestamp_seconds", **_SUCCESS) == 1000.0
    assert value(metrics, "order_last_processed_timestamp_seconds", **_ERROR) == 0


def test_a_failure_that_is_retried(metrics: Metrics) -> None:
    metrics.observe(attempt(reason=FailureReason.TIMEOUT, retry_in=2.0))
    assert value(metrics, "orders_processed_total", **_ERROR) == 1
    assert value(metrics, f"{_DURATION}_count", **_ERROR) == 1
    assert value(metrics, "order_failures_total", reason="timeout") == 1
    assert value(metrics, "order_retries_total") == 1
    assert value(metrics, "orders_dead_lettered_total", reason="attempts_exhausted") == 0


def test_a_failure_that_is_the_last(metrics: Metrics) -> None:
    dead = DeadReason.ATTEMPTS_EXHAUSTED
    metrics.observe(attempt(reason=FailureReason.HANDLER, dead=dead, end_to_end=3.0))
    assert value(metrics, "order_retries_total") == 0
    assert value(metrics, "orders_dead_lettered_total", reason=dead) == 1
    assert value(metrics, "order_end_to_end_duration_seconds_count") == 0


def test_an_invalid_entry_is_no_attempt(metrics: Metrics) -> None:
    metrics.observe(OrderInvalid("orders", "host-1", 7, "not JSON"))
    assert value(metrics, "order_failures_total", reason="invalid") == 1
    assert value(metrics, "orders_dead_lettered_total", reason="invalid") == 1
    assert value(metrics, "orders_processed_total", **_ERROR) == 0
    assert value(metrics, f"{_DURATION}_count", **_ERROR) == 0


def test_orders_that_come_and_go(metrics: Metrics) -> None:
    metrics.observe(OrdersReceived("orders", 5))
    metrics.observe(OrdersRequeued("orders", "host-1", 2))
    metrics.observe(OrdersRecovered("orders", 4, 1))
    metrics.observe(OrderDuplicated("orders", "A-1"))
    assert value(metrics, "orders_received_total") == 5
    assert value(metrics, "orders_requeued_total") == 2
    assert value(metrics, "orders_recovered_total", reason="lease") == 4
    assert value(metrics, "orders_dead_lettered_total", reason="orphaned") == 1
    assert value(metrics, "orders_duplicate_total") == 1


def test_waits_are_never_negative_and_only_of_those_that_tell(metrics: Metrics) -> None:
    waits = (None, -5.0, 0.5, nan, inf)
    metrics.observe(OrdersStarted("orders", [OrderStarted("A-1", 1, wait) for wait in waits]))
    assert value(metrics, "order_queue_wait_seconds_count") == 2
    assert value(metrics, "order_queue_wait_seconds_sum") == 0.5


@pytest.mark.parametrize("duration", [nan, inf, -inf, -1.0])
def test_an_impossible_duration_poisons_no_sum_and_loses_no_count(
    metrics: Metrics, duration: float
) -> None:
    metrics.observe(attempt(duration=duration))
    metrics.observe(attempt(duration=duration, reason=FailureReason.HANDLER))
    for status in (_SUCCESS, _ERROR):
        assert value(metrics, f"{_DURATION}_sum", **status) == 0
        assert value(metrics, f"{_DURATION}_count", **status) == 1


def test_a_survey() -> None:
    metrics = new_metrics(clock=lambda: 2000.0)
    seen = survey(waiting=3, in_flight=2, retrying=4, dead=1, oldest=1_990_500, received=9)
    metrics.observe(QueueSurveyed("orders", seen))
    assert value(metrics, "fulfillment_queue_depth") == 3
    assert value(metrics, "fulfillment_in_flight_depth") == 2
    assert value(metrics, "fulfillment_retry_depth") == 4
    assert value(metrics, "fulfillment_outstanding_orders") == 9
    assert value(metrics, "fulfillment_dead_letter_depth") == 1
    assert value(metrics, "fulfillment_queue_oldest_order_timestamp_seconds") == 1990.5
    assert value(metrics, "fulfillment_queue_sample_timestamp_seconds") == 2000
    assert value(metrics, "orders_unaccounted") == 2


def test_survey_is_told_by_the_clock_of_the_host_and_not_of_redis() -> None:
    """Redis is 90 s behind: nothing is stale, and nothing is older than it is."""
    metrics = new_metrics(clock=lambda: 2090.0)
    metrics.observe(QueueSurveyed("orders", survey(at=2_000_000, waiting=1, oldest=1_990_000)))
    assert value(metrics, "fulfillment_queue_sample_timestamp_seconds") == 2090
    assert value(metrics, "fulfillment_queue_oldest_order_timestamp_seconds") == 2080


def test_while_no_order_waits_none_is_old() -> None:
    clock = iter(range(3000, 9000))
    metrics = new_metrics(clock=lambda: float(next(clock)))
    metrics.observe(QueueSurveyed("orders", survey(waiting=0, oldest=2_000_000)))
    earlier = value(metrics, "fulfillment_queue_oldest_order_timestamp_seconds")
    assert earlier is not None
    later = value(metrics, "fulfillment_queue_oldest_order_timestamp_seconds")
    assert later is not None
    assert later > earlier >= 3000


def test_an_order_that_came_with_the_survey_ages_from_then_on() -> None:
    now = [2000.0]
    metrics = new_metrics(clock=lambda: now[0])
    metrics.observe(QueueSurveyed("orders", survey(waiting=1)))
    now[0] += 60
    assert value(metrics, "fulfillment_queue_oldest_order_timestamp_seconds") == 2000


def test_before_the_first_survey_nothing_looks_old() -> None:
    metrics = new_metrics(clock=lambda: 5000.0)
    assert value(metrics, "fulfillment_queue_oldest_order_timestamp_seconds") == 5000
    assert value(metrics, "fulfillment_queue_sample_timestamp_seconds") == 0


def test_the_queue_label_exists_only_with_several_queues() -> None:
    assert "queue=" not in page(new_metrics("orders"))
    metrics = new_metrics("orders", "express")
    metrics.observe(QueueSurveyed("express", survey(waiting=3)))
    assert value(metrics, "fulfillment_queue_depth", queue="express") == 3
    assert value(metrics, "fulfillment_queue_depth", queue="orders") == 0
    assert value(metrics, "orders_received_total") == 0


def test_rollbacks_of_a_queue_are_counted_by_its_name() -> None:
    metrics = new_metrics("orders", "express")
    name = "fulfillment_queue_rollbacks_total"
    assert value(metrics, name, queue="express") == 0
    metrics.observe(QueueRolledBack("express", before=9, now=4))
    assert value(metrics, name, queue="express") == 1
    assert value(metrics, name, queue="orders") == 0
    assert value(metrics, "fulfillment_observer_faults_total") == 0


def test_commands(metrics: Metrics) -> None:
    metrics.observe(CommandSent("exchange", True, 0.002))
    metrics.observe(CommandSent("exchange", False, None))
    metrics.observe(CommandSent("wait", True, 4.0))
    metrics.observe(CommandSent("never heard of", True, 0.001))
    name, took = "fulfillment_redis_commands_total", "fulfillment_redis_command_duration_seconds"
    assert value(metrics, name, operation="exchange", outcome="ok") == 1
    assert value(metrics, name, operation="exchange", outcome="error") == 1
    assert value(metrics, name, operation="wait", outcome="ok") == 1
    assert value(metrics, name, operation="other", outcome="ok") == 1
    assert value(metrics, f"{took}_sum", operation="exchange") == 0.002
    assert f'{took}_count{{operation="wait"}}' not in series(metrics)


@pytest.mark.parametrize(
    "event",
    [LeaseLost("orders", "w", 3), QueueLost("orders", "gone"), QueueRegained("orders", 1.0)],
)
def test_outages_are_for_logs_and_probes(metrics: Metrics, event: Any) -> None:
    metrics.observe(event)
    assert value(metrics, "fulfillment_observer_faults_total") == 0


def test_exemplars_are_for_openmetrics_only(metrics: Metrics) -> None:
    metrics.observe(attempt(trace_id="ab" * 16))
    assert '# {trace_id="' + "ab" * 16 in openmetrics(metrics)
    assert "trace_id" not in page(metrics)


def test_an_exemplar_that_is_too_long_is_left_out(metrics: Metrics) -> None:
    metrics.observe(attempt(trace_id="a" * 121))
    assert value(metrics, "orders_processed_total", **_SUCCESS) == 1
    assert value(metrics, "order_last_processed_timestamp_seconds", **_SUCCESS) == 1000
    assert "trace_id" not in openmetrics(metrics)


def test_what_the_worker_sets(metrics: Metrics) -> None:
    metrics.in_progress_from(lambda: 7)
    metrics.tasks(12)
    metrics.looped(1234.5, 0.3)
    metrics.looped(1234.75, nan)
    metrics.state("draining")
    metrics.logged("error")
    metrics.logged("no such level")
    assert value(metrics, "orders_in_progress") == 7
    assert value(metrics, "fulfillment_worker_slots") == 50
    assert value(metrics, "python_asyncio_tasks") == 12
    assert value(metrics, "fulfillment_worker_last_loop_timestamp_seconds") == 1234.75
    assert value(metrics, "python_asyncio_loop_lag_seconds_count") == 1
    assert value(metrics, "fulfillment_worker_state", state="draining") == 1
    assert value(metrics, "fulfillment_worker_state", state="starting") == 0
    assert value(metrics, "fulfillment_log_messages_total", level="error") == 1
    assert value(metrics, "fulfillment_build_info", version="1.2.3", revision="abc123") == 1


_numbers = st.floats() | st.integers() | st.none()
_attempts = st.builds(
    AttemptEnded,
    queue=st.text(),
    worker=st.text(),
    order_id=st.text(),
    delivery=st.integers(),
    attempt=st.integers(),
    duration=st.floats(),
    reason=st.none() | st.sampled_from(FailureReason) | st.text(),
    error=st.text(),
    end_to_end=_numbers,
    retry_in=_numbers,
    dead=st.none() | st.sampled_from(DeadReason) | st.text(),
    trace_id=st.none() | st.text(max_size=300),
)
_starts = st.builds(OrderStarted, st.text(), st.integers(), _numbers)
_events = st.one_of(
    _attempts,
    st.builds(OrdersFulfilled, st.text(), st.text(), st.lists(_attempts)),
    st.builds(OrdersStarted, st.text(), st.lists(_starts)),
    st.builds(OrdersReceived, st.text(), st.integers()),
    st.builds(OrdersRecovered, st.text(), st.integers(), st.integers(), st.sampled_from(Gone)),
    st.builds(ProcessCrashed, st.text(), st.sampled_from(CRASHES)),
    st.builds(OrderInvalid, st.text(), st.text(), st.integers(), st.text()),
    st.builds(CommandSent, st.text(), st.booleans(), _numbers),
    st.builds(QueueSurveyed, st.text(), st.just(survey())),
    st.builds(QueueRolledBack, st.text(), st.integers(), st.integers()),
    st.text(),
    st.none(),
)
_FUZZED = new_metrics()
_SERIES = series(_FUZZED)


@given(_events)
def test_no_event_raises_or_makes_a_series(event: Any) -> None:
    _FUZZED.observe(event)
    assert series(_FUZZED) == _SERIES
    assert openmetrics(_FUZZED)


def test_faults_are_counted(metrics: Metrics) -> None:
    metrics.observe("no event")  # type: ignore[arg-type]
    metrics.observe(OrdersReceived("orders", -1))
    assert value(metrics, "fulfillment_observer_faults_total") == 2


def test_an_observer_that_raises_keeps_nothing_from_the_others(metrics: Metrics) -> None:
    class Broken:
        def observe(self, event: object) -> None:
            raise RuntimeError("out of order")

    Observers([Broken(), metrics], on_fault=metrics.faulted).observe(attempt())
    assert value(metrics, "orders_processed_total", **_SUCCESS) == 1
    assert value(metrics, "fulfillment_observer_faults_total") == 1


def test_gc_pauses_are_measured_only_while_installed(metrics: Metrics) -> None:
    before = list(gc.callbacks)
    metrics.runtime.install()
    metrics.runtime.install()
    gc.collect()
    metrics.runtime.uninstall()
    metrics.runtime.uninstall()
    gc.collect()
    assert value(metrics, "python_gc_pause_seconds_count", generation="2") == 1
    assert 0 < value(metrics, "python_gc_pause_seconds_sum", generation="2") < 10
    assert gc.callbacks == before


def test_a_collection_of_garbage_takes_no_lock(metrics: Metrics) -> None:
    """It may come at any instruction, also while its own thread is within the client library."""
    metrics.runtime.install()
    collected = threading.Event()

    def collect() -> None:
        gc.collect()
        collected.set()

    thread = threading.Thread(target=collect, daemon=True)
    with ExitStack() as held:
        for lock in _locks(metrics):
            held.enter_context(lock)
        thread.start()
        done = collected.wait(10)
    metrics.runtime.uninstall()
    assert done
    assert value(metrics, "python_gc_pause_seconds_count", generation="2") >= 1


def _locks(metrics: Metrics) -> list[Any]:
    """Every lock that the client library takes to count, or to find what to count with."""
    families = list(metrics.registry._collector_to_names)
    children = [child for family in families for child in getattr(family, "_metrics", {}).values()]
    holders = [metrics.registry, *families, *children]
    found = [getattr(holder, "_lock", None) for holder in holders]
    assert len([lock for lock in found if lock is not None]) > 5
    return [lock for lock in found if lock is not None]


def test_a_collector_that_fails_costs_its_own_metrics_only(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise RuntimeError("out of order")

    monkeypatch.setattr("threading.active_count", fail)
    text = page(metrics)
    assert "python_threads" not in text
    assert "orders_processed_total" in text
    assert value(metrics, "fulfillment_observer_faults_total") > 0


def test_a_count_that_fails_costs_the_page_nothing(metrics: Metrics) -> None:
    metrics.in_progress_from(lambda: 1 / 0)
    assert value(metrics, "orders_in_progress") == 0
    assert value(metrics, "fulfillment_observer_faults_total") > 0


def test_runtime_metrics_are_plausible(metrics: Metrics) -> None:
    assert value(metrics, "process_threads") >= value(metrics, "python_threads") >= 1
    assert value(metrics, "python_allocated_blocks") > 1000
    assert value(metrics, "process_context_switches_total", type="voluntary") > 0
    assert value(metrics, "process_resident_memory_bytes") > 1e6
