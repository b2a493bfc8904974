"""What has happened in the demo so far, from the same events that metrics and logs are fed with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum, auto

import msgspec

from fulfillment_worker.core.breaker import BreakerCause
from fulfillment_worker.core.events import (
    AttemptEnded,
    BreakerChanged,
    Event,
    LeaseLost,
    OrderDuplicated,
    OrderInvalid,
    OrdersFulfilled,
    OrdersRecovered,
    QueueLost,
    QueueRegained,
    QueueSurveyed,
    WorkerDraining,
)
from fulfillment_worker.core.exchange import Survey
from fulfillment_worker.core.outcome import DeadReason

_MEASURED = 1000
"""Attempts that percentiles are taken of: the latest."""


class DemoSeverity(Enum):
    """How a demo_event is to be taken."""

    GOOD = auto()
    AGAIN = auto()  # it failed, and will be tried again
    BAD = auto()  # it is a dead letter
    TROUBLE = auto()  # with Redis, or with the worker itself


class DemoEvent(msgspec.Struct, frozen=True):
    """Something worth a line."""

    severity: DemoSeverity
    text: str


class Tally:
    """Counts what happens, tells of what is worth a line, and notices the end.

    orders: how many the storefront is to place, None for no end. notice: is told each demo_event.
    on_complete: is called, once, when all of them were placed and have ended. on_draining: is
    called when the worker takes no more.
    received_before: orders that the queue had received before the demo began.
    """

    def __init__(self, orders: int | None) -> None:
        self.orders = orders
        self.notice: Callable[[DemoEvent], None] = lambda _: None
        self.on_complete: Callable[[], None] = lambda: None
        self.on_draining: Callable[[], None] = lambda: None
        self.complete = False
        self.received_before = 0
        self.placed = 0
        self.fulfilled = self.after_retry = self.duplicates = 0
        self.rejected = self.invalid = self.exhausted = self.orphaned = 0
        self.attempts = self.failed = self.retried = 0
        self.durations: deque[float] = deque(maxlen=_MEASURED)
        # Those that the storefront placed and that have not ended; the rubbish has the id "".
        self._open: set[str] = set()

    @property
    def dead(self) -> int:
        """Dead letters, for whatever reason."""
        return self.rejected + self.invalid + self.exhausted + self.orphaned

    @property
    def ended(self) -> int:
        """Orders that nothing more will happen to."""
        return self.fulfilled + self.dead + self.duplicates

    @property
    def open(self) -> int:
        """Orders of the storefront that have not ended, as far as one can tell."""
        return max(0, len(self._open) - self.orphaned)

    # --- told by the storefront ---------------------------------------------------------------

    def placing(self, ids: Iterable[str]) -> None:
        """The storefront is about to place these."""
        self._open.update(ids)

    def withdrawn(self, ids: Iterable[str]) -> None:
        """The storefront gave up on placing these."""
        self._open.difference_update(ids)

    def placed_all(self, many: int) -> None:
        """So many were placed."""
        self.placed += many
        self._look_for_the_end()

    # --- told by the worker -------------------------------------------------------------------

    def observe(self, event: Event) -> None:
        """See Observer."""
        match event:
            case WorkerDraining():
                self.on_draining()
            case OrdersFulfilled(attempts=attempts):
                for attempt in attempts:
                    self._attempt_ended(attempt)
            case AttemptEnded():
                self._attempt_ended(event)
            case OrderInvalid(why=why):
                self.invalid += 1
                self._end(
                    "",
                    DemoEvent(DemoSeverity.BAD, f"an entry that is no order was put aside: {why}"),
                )
            case OrderDuplicated(order_id=order_id):
                self.duplicates += 1
                text = f"order {order_id} came again, and was not handled twice"
                self._end(order_id, DemoEvent(DemoSeverity.GOOD, text))
            case QueueSurveyed(survey=survey):
                self._surveyed(survey)
            case _:
                self._trouble(event)

    def _attempt_ended(self, event: AttemptEnded) -> None:
        self.attempts += 1
        self.durations.append(event.duration)
        if event.reason is None:
            self._fulfilled(event)
            return
        self.failed += 1
        if event.dead is not None:
            self._dead(event)
        elif event.retry_in is not None:
            self.retried += 1
            text = f"order {event.order_id} failed, again in {_told(event.retry_in)}: {event.error}"
            self.notice(DemoEvent(DemoSeverity.AGAIN, text))
        else:
            text = f"order {event.order_id} runs again: {event.error}"
            self.notice(DemoEvent(DemoSeverity.TROUBLE, text))

    def _fulfilled(self, event: AttemptEnded) -> None:
        self.fulfilled += 1
        self.after_retry += event.attempt > 1
        how = (
            f"after {event.attempt} attempts"
            if event.attempt > 1
            else f"in {_told(event.duration)}"
        )
        demo_event = DemoEvent(DemoSeverity.GOOD, f"order {event.order_id} fulfilled {how}")
        theirs = event.order_id not in self._open
        worth = self.fulfilled == 1 or event.attempt > 1 or theirs
        self._end(event.order_id, demo_event if worth else None)

    def _dead(self, event: AttemptEnded) -> None:
        if event.dead is DeadReason.REJECTED:
            self.rejected += 1
            text = f"order {event.order_id} rejected: {event.error}"
        else:
            self.exhausted += 1
            text = f"order {event.order_id} given up after {event.attempt} attempts: {event.error}"
        self._end(event.order_id, DemoEvent(DemoSeverity.BAD, text))

    def _trouble(self, event: Event) -> None:
        match event:
            case QueueLost(why=why):
                text = why
            case QueueRegained(away=away, first=False):
                text = f"Redis answers again, after {_told(away)}"
            case BreakerChanged(state=state, cause=cause):
                how = "failed" if cause is BreakerCause.FAILURES else "were rejected"
                text = f"nearly all attempts {how} of late: the breaker is {state} now"
            case LeaseLost(orders=orders):
                text = f"the worker was silent for too long: {orders} orders are put back"
            case OrdersRecovered(count=count, orphaned=orphaned):
                self.orphaned += orphaned
                text = f"{count} orders of a worker that is gone were put back"
            case _:
                text = ""
        if text:
            self.notice(DemoEvent(DemoSeverity.TROUBLE, text))

    # --- the end ------------------------------------------------------------------------------

    def _end(self, order_id: str, demo_event: DemoEvent | None) -> None:
        if demo_event:
            self.notice(demo_event)
        self._open.discard(order_id)
        self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        if self._all_placed() and not self.open:
            self._complete()

    def _surveyed(self, survey: Survey) -> None:
        """Nothing is left, though not all was seen to end: other workers have joined in."""
        left = survey.waiting + survey.in_flight + survey.retrying
        left += survey.scheduled + survey.held
        received = survey.received - self.received_before
        if self._all_placed() and not left and received >= self.placed:
            self._complete()

    def _complete(self) -> None:
        if not self.complete:
            self.complete = True
            self.on_complete()

    def _all_placed(self) -> bool:
        return self.orders is not None and self.placed >= self.orders


def _told(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
