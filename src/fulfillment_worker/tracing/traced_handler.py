"""The loaded handler, with a span around each call."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context, copy_context
from typing import Any, ParamSpec, Protocol

from opentelemetry.context import Context as TraceContext
from opentelemetry.context import attach
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Tracer,
    set_span_in_context,
)

from fulfillment_worker.core.attempt import Attempt
from fulfillment_worker.core.order import Order
from fulfillment_worker.core.outcome import Result
from fulfillment_worker.tracing import w3c
from fulfillment_worker.tracing.traced_attempt import TracedAttempt
from fulfillment_worker.tracing.within import Within

P = ParamSpec("P")

_EMPTY = TraceContext()
_Attributes = dict[str, str | int]


class _LoadedHandler(Protocol):
    """See handlers.handler."""

    @property
    def name(self) -> str: ...

    @property
    def blocking(self) -> bool: ...

    def __call__(self, order: Order, attempt: Attempt) -> Coroutine[Any, Any, Result]: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class TracedHandler:
    """Calls `handler` within a CONSUMER span, and hands that span on as the order's trace context.

    The span is a child of the producer's span, and linked to it as well: so an order is one trace
    from the click to the parcel, and tools that follow links find the way too. (The messaging
    conventions ask for the link, and allow the parent where a span is about one message.)

    always: attributes that all spans have. on_fault: called where tracing itself failed; the order
    then runs without a span.
    """

    def __init__(
        self,
        handler: _LoadedHandler,
        tracer: Tracer,
        *,
        always: Mapping[str, str | int],
        on_fault: Callable[[], None],
    ) -> None:
        self._handler = handler
        self._tracer = tracer
        self._skips_unsampled = _drops_what_parents_drop(tracer)
        self._always = dict(always)
        self._on_fault = on_fault
        self._open: set[TracedAttempt] = set()

    @property
    def name(self) -> str:
        """See LoadedHandler."""
        return self._handler.name

    @property
    def blocking(self) -> bool:
        """See LoadedHandler."""
        return self._handler.blocking

    async def open(self) -> None:
        """See LoadedHandler."""
        await self._handler.open()

    async def close(self) -> None:
        """See LoadedHandler."""
        await self._handler.close()

    def stop(self) -> None:
        """End the spans of attempts that go on though they were told to stop."""
        for attempt in list(self._open):
            attempt.interrupted()

    async def __call__(self, order: Order, attempt: Attempt) -> Result:
        """See LoadedHandler."""
        try:
            span, context, traced_order = self._begin(order)
        except Exception:  # noqa: BLE001 - watching must never hurt an order
            self._on_fault()
            return await self._handler(order, attempt)
        if traced_order is not order:
            attempt.hand_on(traced_order)
        if not span.is_recording():
            return await Within(self._handler(traced_order, attempt), context, _ignore)
        traced = TracedAttempt(attempt, span, self._open.discard)
        self._open.add(traced)
        try:
            call = self._handler(traced_order, traced)
            result = await Within(call, context, self._guarded(traced.cancelled))
        except BaseException:
            # No handler raises, but Python may close this coroutine.
            self._guarded(traced.interrupted)()
            raise
        self._guarded(traced.ended)(result)
        return result

    def _begin(self, order: Order) -> tuple[Span, Context, Order]:
        """The attempt's span, the context in which the handler is to run, and its order."""
        producer = w3c.producer_context(order)
        span = self._span(order, producer)
        context = copy_context()
        context.run(attach, set_span_in_context(span))
        if span.is_recording() or (producer is not None and producer.trace_flags.sampled):
            order = w3c.with_context(order, span.get_span_context())
        return span, context, order

    def _span(self, order: Order, producer: SpanContext | None) -> Span:
        parent, links = _EMPTY, None
        if producer is not None:
            if self._skips_unsampled and not producer.trace_flags.sampled:
                return NonRecordingSpan(producer)
            parent = set_span_in_context(NonRecordingSpan(producer), _EMPTY)
            links = (Link(producer),)
        attributes: _Attributes = {
            **self._always,
            "messaging.destination.name": order.queue,
            "messaging.message.id": order.id,
            "messaging.message.body.size": len(order.raw),
            "fulfillment.order.attempt": order.attempt,
        }
        return self._tracer.start_span(
            f"process {order.queue}", parent, SpanKind.CONSUMER, attributes, links
        )

    def _guarded(self, tell: Callable[P, None]) -> Callable[P, None]:
        def guarded(*what: P.args, **more: P.kwargs) -> None:
            try:
                tell(*what, **more)
            except Exception:  # noqa: BLE001 - watching must never hurt an order
                self._on_fault()

        return guarded


def _drops_what_parents_drop(tracer: Tracer) -> bool:
    """Whether a span of a parent that isn't sampled is never made: then nobody need be asked.

    So it is unless somebody has set a sampler of their own: see OTEL_TRACES_SAMPLER.
    """
    sampler = getattr(tracer, "sampler", None)
    return getattr(sampler, "_remote_parent_not_sampled", None) is ALWAYS_OFF


def _ignore(_error: BaseException) -> None:
    """Nothing is recorded."""
