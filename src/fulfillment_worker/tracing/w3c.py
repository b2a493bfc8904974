"""Between the trace context of an order and OpenTelemetry's (W3C Trace Context, level 1)."""

from __future__ import annotations

from msgspec import structs
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from fulfillment_worker.core.order import Order

_NO_STATE = TraceState()


def producer_context(order: Order) -> SpanContext | None:
    """The span in which the order was placed; None where it names none, or a malformed one.

    Decoding has dropped every `traceparent` that isn't exactly of version 00.
    """
    header = order.traceparent
    if header is None:
        return None
    return SpanContext(
        trace_id=int(header[3:35], 16),
        span_id=int(header[36:52], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(header[53:], 16)),
        trace_state=_state(order.tracestate),
    )


def with_context(order: Order, context: SpanContext) -> Order:
    """The order with this span as its trace context: the parent of what its handler sends on.

    tracestate: what vendors keep in the trace; None where there is nothing.
    """
    return structs.replace(
        order,
        traceparent=f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}",
        tracestate=context.trace_state.to_header() or None if context.trace_state else None,
    )


def _state(header: str | None) -> TraceState:
    # What is malformed in it is ignored by the parser, entry by entry.
    return TraceState.from_header([header]) if header else _NO_STATE
