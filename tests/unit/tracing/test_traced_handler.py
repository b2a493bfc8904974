"""The span around an attempt: what it says, whom it belongs to, and what it can't do to orders."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import msgspec
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from fulfillment_worker.core.attempt import Attempt
from fulfillment_worker.core.decode import Decoded, decode
from fulfillment_worker.core.order import Order, Reject, Retry
from fulfillment_worker.core.outcome import (
    INTERRUPTED,
    SUCCEEDED,
    Failed,
    FailureReason,
    Rejected,
    Result,
    Unattempted,
)
from fulfillment_worker.handlers import LoadedHandler
from fulfillment_worker.handlers.function import AsyncFunction, PlainFunction
from fulfillment_worker.tracing.start import Tracing
from fulfillment_worker.tracing.traced_handler import TracedHandler
from tests.support.attempt import OneAttempt

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
TIMEOUT = Failed(FailureReason.TIMEOUT, "no result within 60 s")
_VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")

Handle = Callable[[Order], Any]


def order(**given: Any) -> Order:
    fields: dict[str, Any] = {
        "id": "A-1",
        "attempt": 2,
        "body": {},
        "raw": b"{}",
        "queue": "orders",
    }
    return Order(**(fields | given))


class Setup:
    """A provider of its own, whose spans end up in `spans`."""

    def __init__(self, sampler: Sampler = ParentBased(ALWAYS_ON)) -> None:  # noqa: B008 - frozen
        self._memory = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self.tracer: Tracer = provider.get_tracer("test")
        self.faults = 0

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._memory.get_finished_spans())

    def traced(self, handle: Handle, *, plain: bool = False) -> TracedHandler:
        plain_or_async = PlainFunction if plain else AsyncFunction
        return self.around(plain_or_async(handle, "shop"))

    def around(self, handler: LoadedHandler) -> TracedHandler:
        return TracedHandler(
            handler,
            self.tracer,
            always={"messaging.system": "redis"},
            on_fault=self._fault,
        )

    def _fault(self) -> None:
        self.faults += 1


class Says:
    """A handler that ends in this result, and raises nothing: as a URL handler."""

    name, blocking = "url", False

    def __init__(self, result: Result) -> None:
        self._result = result

    async def __call__(self, order: Order, attempt: Attempt) -> Result:
        return self._result

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass


async def run(traced: TracedHandler, order: Order) -> Order:
    """The order as the handler got it."""
    attempt = OneAttempt()
    await traced(order, attempt)
    return attempt.handed_on or order


@pytest.fixture
def setup() -> Iterator[Setup]:
    made = Setup()
    yield made
    assert made.faults == 0


async def _fine(order: Order) -> None:
    await asyncio.sleep(0)


async def test_a_span_says_what_it_is_about(setup: Setup) -> None:
    await run(setup.traced(_fine), order(raw=b'{"order_id": "A-1"}'))
    (span,) = setup.spans
    assert (span.name, span.kind) == ("process orders", SpanKind.CONSUMER)
    assert span.attributes == {
        "messaging.system": "redis",
        "messaging.destination.name": "orders",
        "messaging.message.id": "A-1",
        "messaging.message.body.size": 19,
        "fulfillment.order.attempt": 2,
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.parent is None
    assert not span.links


async def test_it_is_a_child_of_the_producers_span_and_linked_to_it(setup: Setup) -> None:
    placed = order(traceparent=SAMPLED, tracestate="shop=1")
    seen = await run(setup.traced(_fine), placed)
    assert placed.traceparent == SAMPLED, "an order is frozen"
    (span,) = setup.spans
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, SPAN)
    (link,) = span.links
    assert (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") == (TRACE, SPAN)
    own = span.get_span_context()
    assert own is not None
    assert seen.traceparent == f"00-{TRACE}-{own.span_id:016x}-01"
    assert seen.tracestate == "shop=1"


async def test_without_a_producers_span_the_attempt_is_a_root_that_is_handed_on(
    setup: Setup,
) -> None:
    seen = await run(setup.traced(_fine), order())
    own = setup.spans[0].get_span_context()
    assert own is not None
    assert seen.traceparent is not None
    assert seen.traceparent[:52] == f"00-{own.trace_id:032x}-{own.span_id:016x}"
    assert int(seen.traceparent[53:], 16) & 1


@pytest.mark.parametrize(
    "traceparent",
    ["", "00-x", f"01-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-x", 7],
)
async def test_a_malformed_context_is_ignored(setup: Setup, traceparent: object) -> None:
    raw = msgspec.json.encode({"order_id": "A-1", "traceparent": traceparent, "tracestate": "=,;"})
    read = decode(raw, id_field="order_id", max_bytes=1000)
    assert isinstance(read, Decoded)
    await run(setup.traced(_fine), order(traceparent=read.traceparent, tracestate=read.tracestate))
    assert setup.spans[0].parent is None


@pytest.mark.parametrize("tracestate", ["=", "a=b,a=b", ",,,", "x" * 512, "ä"])
async def test_a_malformed_state_of_the_trace_is_ignored(setup: Setup, tracestate: str) -> None:
    await run(setup.traced(_fine), order(traceparent=SAMPLED, tracestate=tracestate))
    assert setup.spans[0].parent is not None


async def test_an_order_whose_trace_is_not_sampled_makes_no_span(setup: Setup) -> None:
    inside: list[bool] = []

    async def handle(order: Order) -> None:
        # What the handler's own instrumentation asks: its spans must not start traces of their own.
        inside.append(trace.get_current_span().get_span_context().trace_flags.sampled)
        setup.tracer.start_span("inner").end()

    seen = await run(setup.traced(handle), order(traceparent=UNSAMPLED))
    assert setup.spans == []
    assert inside == [False]
    assert seen.traceparent == UNSAMPLED


async def test_a_sampler_may_overrule_a_producer_that_does_not_sample() -> None:
    for sampler in (ALWAYS_ON, ParentBased(ALWAYS_OFF, remote_parent_not_sampled=ALWAYS_ON)):
        setup = Setup(sampler)
        await run(setup.traced(_fine), order(traceparent=UNSAMPLED))
        assert len(setup.spans) == 1


async def test_a_sampler_that_drops_the_span_is_told_downstream() -> None:
    setup = Setup(ALWAYS_OFF)
    seen = await run(setup.traced(_fine), order(traceparent=SAMPLED))
    root = await run(setup.traced(_fine), order())
    assert setup.spans == []
    assert seen.traceparent is not None
    assert seen.traceparent.startswith(f"00-{TRACE}-")
    assert seen.traceparent.endswith("-00")
    assert root.traceparent is None


@pytest.mark.parametrize("plain", [False, True])
async def test_the_handlers_own_spans_are_its_children(setup: Setup, plain: bool) -> None:
    def work(order: Order) -> None:
        setup.tracer.start_span("inner").end()

    async def handle(order: Order) -> None:
        await asyncio.sleep(0.001)
        await asyncio.create_task(asyncio.sleep(0))
        work(order)

    traced = setup.traced(work if plain else handle, plain=plain)
    await run(traced, order())
    await traced.close()
    inner, outer = setup.spans
    assert inner.parent is not None
    assert inner.parent.span_id == outer.get_span_context().span_id  # type: ignore[union-attr]


async def test_nothing_leaks_into_the_callers_context(setup: Setup) -> None:
    """The caller may run a handler's first step by itself, and the rest in a task of its own."""

    async def handle(order: Order) -> None:
        _VARIABLE.set(order.id)
        for _ in range(3):
            await asyncio.sleep(0)
            assert _VARIABLE.get() == order.id

    first, second = (setup.traced(handle)(order(id=each), OneAttempt()) for each in "AB")
    first.send(None)
    assert not trace.get_current_span().get_span_context().is_valid
    assert _VARIABLE.get() == "unset"
    second.send(None)
    assert [_steps_to_the_end(call) for call in (first, second)] == [3, 3]
    assert [span.attributes["messaging.message.id"] for span in setup.spans] == ["A", "B"]  # type: ignore[index]


def _steps_to_the_end(call: Any) -> int:
    for steps in range(1, 100):
        try:
            call.send(None)
        except StopIteration:
            return steps
    raise AssertionError("it never ended")


def _raising(error: BaseException) -> Handle:
    async def handle(order: Order) -> None:
        await asyncio.sleep(0)
        raise error

    return handle


@pytest.mark.parametrize(
    ("error", "reason", "type_", "text"),
    [
        (Retry("the carrier is down"), "dependency", "fulfillment_worker.Retry", "the carrier is"),
        (Reject("no such SKU"), "rejected", "fulfillment_worker.Reject", "no such SKU"),
        (ValueError("no\n paper"), "handler", "ValueError", "no paper"),
        (ValueError("at redis://:hunter2@host"), "handler", "ValueError", "at redis://***@host"),
        (msgspec.ValidationError("odd"), "handler", "msgspec.ValidationError", "odd"),
        (SystemExit(3), "handler", "SystemExit", "SystemExit: 3"),
    ],
)
async def test_a_failure_is_told(
    setup: Setup, error: BaseException, reason: str, type_: str, text: str
) -> None:
    await run(setup.traced(_raising(error)), order())
    (span,) = setup.spans
    assert span.status.status_code is StatusCode.ERROR
    assert text in (span.status.description or "")
    assert span.attributes is not None
    assert span.attributes["fulfillment.failure.reason"] == reason
    assert span.attributes["error.type"] == type_
    (event,) = span.events
    told = dict(event.attributes or {})
    assert told["exception.type"] == type_
    assert "raise error" in str(told["exception.stacktrace"])
    assert "within.py" not in str(told["exception.stacktrace"])
    assert "hunter2" not in str(told)


async def test_an_exception_whose_text_fails_is_told_all_the_same(setup: Setup) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError("out of order")

    await run(setup.traced(_raising(Odd())), order())
    assert setup.spans[0].status.status_code is StatusCode.ERROR


@pytest.mark.parametrize(
    ("result", "reason", "type_"),
    [
        (
            Failed(FailureReason.DEPENDENCY, "answered 503 for ?key=hunter2", 7.0),
            "dependency",
            "fulfillment_worker.Retry",
        ),
        (Rejected("answered 422 for ?key=hunter2"), "rejected", "fulfillment_worker.Reject"),
    ],
)
async def test_failure_of_a_url_handler_is_told_as_that_of_a_function(
    setup: Setup, result: Result, reason: str, type_: str
) -> None:
    await run(setup.around(Says(result)), order())
    (span,) = setup.spans
    assert span.attributes is not None
    assert span.attributes["fulfillment.failure.reason"] == reason
    (event,) = span.events
    assert dict(event.attributes or {})["exception.type"] == type_
    assert "answered" in (span.status.description or "")


async def test_shortage_of_the_worker_is_nobodys_error(setup: Setup) -> None:
    await run(setup.around(Says(Unattempted("no thread"))), order())
    (span,) = setup.spans
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes is not None
    assert span.attributes["fulfillment.interrupted"] is True


async def test_handler_that_cancels_itself_is_a_failure_in_its_span_too(setup: Setup) -> None:
    async def cancel_itself(order: Order) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    await run(setup.traced(cancel_itself), order())
    (span,) = setup.spans
    assert span.attributes is not None
    assert span.attributes["fulfillment.failure.reason"] == "handler"
    assert span.status.description == "the handler cancelled itself"


async def _started(coroutine: Any) -> asyncio.Task[Result]:
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_a_time_out_ends_the_span_though_the_handler_goes_on(setup: Setup) -> None:
    go_on = asyncio.Event()

    async def stubborn(order: Order) -> None:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue

    task = await _started(setup.traced(stubborn)(order(), OneAttempt()))
    task.cancel(TIMEOUT)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (span,) = setup.spans
    assert (span.status.status_code, span.status.description) == (
        StatusCode.ERROR,
        "no result within 60 s",
    )
    assert span.attributes is not None
    assert span.attributes["error.type"] == span.attributes["fulfillment.failure.reason"]
    assert span.attributes["error.type"] == "timeout"
    go_on.set()
    await task
    assert len(setup.spans) == 1


async def _until_cancelled(order: Order) -> None:
    await asyncio.sleep(60)


async def _clean_up_badly(order: Order) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        raise Reject("while cleaning up")


@pytest.mark.parametrize("handle", [_until_cancelled, _clean_up_badly])
async def test_an_interrupted_attempt_is_nobodys_error(setup: Setup, handle: Handle) -> None:
    attempt = OneAttempt()
    task = await _started(setup.traced(handle)(order(), attempt))
    attempt.cut_short = INTERRUPTED
    task.cancel(INTERRUPTED)
    assert await task is INTERRUPTED
    (span,) = setup.spans
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes is not None
    assert span.attributes["fulfillment.interrupted"] is True


async def test_an_attempt_that_succeeds_while_it_is_interrupted_is_a_success(setup: Setup) -> None:
    async def finishes(order: Order) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    attempt = OneAttempt()
    task = await _started(setup.traced(finishes)(order(), attempt))
    attempt.cut_short = INTERRUPTED
    task.cancel(INTERRUPTED)
    assert await task is SUCCEEDED
    (span,) = setup.spans
    assert span.attributes is not None
    assert "fulfillment.interrupted" not in span.attributes


async def test_what_never_ends_is_told_at_the_end_of_the_process(setup: Setup) -> None:
    traced = setup.traced(_until_cancelled)
    task = await _started(traced(order(), OneAttempt()))
    assert setup.spans == []
    traced.stop()
    traced.stop()
    (span,) = setup.spans
    assert span.attributes is not None
    assert span.attributes["fulfillment.interrupted"] is True
    task.cancel()
    await asyncio.wait({task})
    assert len(setup.spans) == 1


async def test_a_coroutine_that_is_dropped_ends_its_span(setup: Setup) -> None:
    call = setup.traced(_until_cancelled)(order(), OneAttempt())
    call.send(None)
    call.close()
    assert len(setup.spans) == 1


class Broken:
    """A tracer that fails at everything."""

    def start_span(self, *args: object, **more: object) -> None:
        raise RuntimeError("out of order")


async def test_a_tracer_that_fails_costs_no_order() -> None:
    setup = Setup()
    setup.tracer = Broken()  # type: ignore[assignment]
    handled: list[str] = []

    async def handle(order: Order) -> None:
        handled.append(order.id)

    await run(setup.traced(handle), order())
    assert (handled, setup.faults) == (["A-1"], 1)


async def test_a_span_that_fails_costs_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = Setup()

    def fail(*args: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr("fulfillment_worker.tracing.traced_attempt.TracedAttempt.ended", fail)
    traced = setup.traced(_fine)
    assert await traced(order(), OneAttempt()) is SUCCEEDED
    failed = await setup.traced(_raising(Retry("no")))(order(), OneAttempt())
    assert isinstance(failed, Failed)
    assert setup.faults == 2


async def test_it_looks_like_the_handler_that_it_wraps(setup: Setup) -> None:
    plain = setup.traced(lambda order: None, plain=True)
    assert (plain.name, plain.blocking) == ("shop", True)
    assert setup.traced(_fine).blocking is False
    await plain.close()


async def test_log_lines_name_the_span_in_which_they_are_written(setup: Setup) -> None:
    said: list[dict[str, object]] = []

    async def handle(order: Order) -> None:
        said.append(Tracing.log_fields())
        logging.getLogger("shop").debug("hello")

    await run(setup.traced(handle), order(traceparent=SAMPLED))
    await run(setup.traced(handle), order(traceparent=UNSAMPLED))
    own = setup.spans[0].get_span_context()
    assert own is not None
    assert said == [{"trace_id": TRACE, "span_id": f"{own.span_id:016x}"}, {}]
    assert Tracing.log_fields() == {}
