"""The number of series is fixed: no order, no producer and no exception can make a new one.

Fuzzed from end to end: hostile entries and hostile exceptions through a whole worker, on the queue
in memory, with every observer that a real worker has.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fulfillment_worker.core.decide import RetryPolicy
from fulfillment_worker.core.order import Order, Reject, Retry
from fulfillment_worker.handlers.function import AsyncFunction
from fulfillment_worker.observability.event_log import EventLog
from fulfillment_worker.observability.hooks import Observers
from fulfillment_worker.observability.metrics import Metrics
from fulfillment_worker.worker.intake import OrderRules
from fulfillment_worker.worker.worker import Worker
from tests.support.memory_queue import MemoryQueue, Store
from tests.unit.observability.support import new_metrics, openmetrics, series, value

_QUEUES = ("orders", 'ex"press\\')
_ids = st.text(max_size=140) | st.integers() | st.none() | st.booleans()
_traces = st.text(max_size=60) | st.just(f"00-{'a' * 32}-{'b' * 16}-01") | st.integers()
_times = st.text(max_size=30) | st.floats() | st.integers() | st.just("1969-01-01T00:00:00Z")
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
_orders = st.fixed_dictionaries(
    {"order_id": _ids},
    optional={"traceparent": _traces, "tracestate": st.text(), "enqueued_at": _times, "x": _json},
)


def _encoded(order: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(order)
    except (UnicodeEncodeError, msgspec.MsgspecError, OverflowError):
        return repr(order).encode(errors="replace")


_entries = st.binary(max_size=60) | _json.map(msgspec.json.encode) | _orders.map(_encoded)


class _Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("out of order")


def _named(name: str) -> type[Exception]:
    """A class with a name that no class should have."""
    return type(name.replace("\x00", "") or "E", (Exception,), {})


def _with_any_after(error: Retry, after: Any) -> Retry:
    error.after = after
    return error


_texts = st.text(max_size=300)
_errors = st.one_of(
    st.none(),
    st.builds(lambda name, text: _named(name)(text), st.text(st.characters(codec="utf-8")), _texts),
    st.builds(Retry, _texts, after=st.none() | st.floats(0, 0.001)),
    # Not one that is to be retried in years: nobody waits for it here.
    st.builds(
        lambda after: _with_any_after(Retry(""), after),
        st.text() | st.floats(max_value=0.001) | st.sampled_from([math.inf, math.nan]),
    ),
    st.builds(Reject, _texts),
    st.builds(_Mute),
    st.builds(SystemExit, _texts),
    st.just(asyncio.CancelledError("of its own")),
    st.builds(OSError, st.integers(), _texts),
    st.builds(UnicodeDecodeError, st.just("utf-8"), st.binary(), st.just(0), st.just(1), _texts),
)
_RULES = OrderRules(id_field="order_id", max_bytes=400, retry=RetryPolicy(2, 0.001, 0.001))


async def _work(metrics: Metrics, entries: Sequence[bytes], errors: list[Any]) -> None:
    """Let a worker handle all entries, on two queues, until nothing is left of them."""
    stores = [Store(), Store()]
    for number, raw in enumerate(entries):
        stores[number % 2].push(raw)
    queues = [MemoryQueue(store) for store in stores]
    for queue, name in zip(queues, _QUEUES, strict=True):
        queue.name = name
    tell = Observers([metrics, EventLog()], metrics.faulted).observe

    async def fulfil(order: Order) -> None:
        error = errors[len(order.raw) % len(errors)] if errors else None
        if error is not None:
            raise error

    worker = Worker(
        queues,
        AsyncFunction(fulfil, "shop"),
        rules=_RULES,
        concurrency=5,
        order_timeout=5.0,
        lease=10.0,
        emit=tell,
    )
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(120):
        while any(store.public or store.retry or store.suspects for store in stores) or (
            worker.holding
        ):
            for store in stores:
                store.pass_time(20)
            await asyncio.sleep(0.001)
    worker.quiet()
    await running


_METRICS = new_metrics(*_QUEUES)
_SERIES = series(_METRICS)


@settings(max_examples=30)
@given(st.lists(_entries, min_size=1, max_size=12), st.lists(_errors, max_size=6))
def test_no_order_and_no_exception_makes_a_series(entries: list[bytes], errors: list[Any]) -> None:
    asyncio.run(_work(_METRICS, entries, errors))
    assert series(_METRICS) == _SERIES
    assert value(_METRICS, "fulfillment_observer_faults_total") == 0
    assert openmetrics(_METRICS)


def test_the_fuzzing_reaches_every_kind_of_end() -> None:
    """Or the test above would prove little."""
    metrics = new_metrics(*_QUEUES)
    entries = [b'{"order_id": %d}' % n for n in range(10)] + [b"rubbish", b'{"order_id": 0}']
    errors = [None, ValueError("odd"), Retry("later"), Reject("never")]
    entries += [b'{"order_id": "%s"}' % (b"x" * n) for n in range(9)]
    asyncio.run(_work(metrics, entries, errors))
    assert value(metrics, "orders_processed_total", status="success") > 0
    for reason in ("invalid", "handler", "dependency", "rejected"):
        assert value(metrics, "order_failures_total", reason=reason) > 0
    for reason in ("invalid", "rejected", "attempts_exhausted"):
        assert value(metrics, "orders_dead_lettered_total", reason=reason) > 0
