"""One attempt and its span: how what happened to the attempt shows in the span."""

from __future__ import annotations

import traceback
from asyncio import CancelledError
from collections.abc import Callable

from opentelemetry.trace import Span, Status, StatusCode

from fulfillment_worker.core.attempt import Attempt
from fulfillment_worker.core.order import Order, Reject, Retry
from fulfillment_worker.core.outcome import (
    Deferred,
    Failed,
    FailureReason,
    Rejected,
    Result,
    Succeeded,
)
from fulfillment_worker.core.redaction import redact

REASON = "fulfillment.failure.reason"
INTERRUPTED = "fulfillment.interrupted"
POSTPONED = "fulfillment.postponed"
_LONGEST_TEXT = 1_000
_LONGEST_TRACEBACK = 20_000
_OURS = ("fulfillment_worker.tracing", "fulfillment_worker.handlers")


class TracedAttempt:
    """An attempt whose span is recorded. The span ends exactly once.

    on_end: called when the span has ended.
    """

    __slots__ = ("_attempt", "_error", "_on_end", "_span")

    def __init__(
        self,
        attempt: Attempt,
        span: Span,
        on_end: Callable[[TracedAttempt], None],
    ) -> None:
        self._attempt = attempt
        self._span: Span | None = span
        self._on_end = on_end
        self._error: BaseException | None = None

    @property
    def cut_short(self) -> Result | None:
        """See Attempt."""
        return self._attempt.cut_short

    def hand_on(self, order: Order) -> None:
        """See Attempt."""
        self._attempt.hand_on(order)

    def raised(self, error: BaseException) -> None:
        """See Attempt."""
        self._error = error
        self._attempt.raised(error)

    def cancelled(self, error: CancelledError) -> None:
        """The attempt is being cut short. The executor's message says as what it counts.

        A handler may never end after this, so where its end can't change the result, the span
        ends now.
        """
        why = error.args[0] if error.args else None
        if isinstance(why, Failed):
            self._fail(why.reason, str(why.reason), why.error)
            self._end()

    def ended(self, result: Result) -> None:
        """The handler ended in this."""
        # Taken, since it refers to frames that refer to this.
        error, self._error = self._error, None
        if isinstance(result, Succeeded):
            self._end()
        elif isinstance(result, Failed | Rejected):
            self._failed(result, error)
        elif isinstance(result, Deferred):
            if self._span is not None:
                self._span.set_attribute(POSTPONED, redact(result.why)[:_LONGEST_TEXT])
            self._end()
        else:
            self.interrupted()

    def interrupted(self) -> None:
        """The worker stops or is short, or an operator has the order stopped: nobody's error."""
        if self._span is not None:
            self._span.set_attribute(INTERRUPTED, True)
        self._end()

    def _failed(self, result: Failed | Rejected, error: BaseException | None) -> None:
        if self._span is not None:
            reason = result.reason if isinstance(result, Failed) else FailureReason.REJECTED
            error = error or _as_raised(result)
            text = redact(result.error)[:_LONGEST_TEXT]
            self._fail(reason, _type(error), text)
            self._record(self._span, error, text)
        self._end()

    def _fail(self, reason: FailureReason, type_: str, text: str) -> None:
        if self._span is not None:
            self._span.set_attributes({REASON: str(reason), "error.type": type_})
            self._span.set_status(Status(StatusCode.ERROR, text))

    def _record(self, span: Span, error: BaseException, text: str) -> None:
        # Not `record_exception`: its texts would go out as they are, secrets and all.
        trace = redact(_traceback(error))
        span.add_event(
            "exception",
            {
                "exception.type": _type(error),
                "exception.message": text,
                # The end names the exception: that is what must not be lost.
                "exception.stacktrace": trace[-_LONGEST_TRACEBACK:],
            },
        )

    def _end(self) -> None:
        span, self._span = self._span, None
        if span is not None:
            span.end()
            self._on_end(self)


def _as_raised(result: Failed | Rejected) -> BaseException:
    """What a function would have raised: a URL handler raises nothing."""
    return (Reject if isinstance(result, Rejected) else Retry)(result.error)


def _type(error: BaseException) -> str:
    kind = type(error)
    if kind in (Retry, Reject):
        return f"fulfillment_worker.{kind.__name__}"  # as the shop imports it
    return kind.__qualname__ if kind.__module__ == "builtins" else _qualified(kind)


def _qualified(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _traceback(error: BaseException) -> str:
    """Without the frames of ours that lead to the shop's code: they are the same each time."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_globals.get("__package__", "") in _OURS:
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    # A text that can't be encoded would keep the whole batch of spans from being sent.
    return text.encode("utf-8", "backslashreplace").decode()
