"""Attempts: the handler run on an order, within its time, whatever the handler does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from fulfillment_worker.core.attempt import Handle
from fulfillment_worker.core.outcome import (
    INTERRUPTED,
    SUCCEEDED,
    Failed,
    FailureReason,
    Result,
)
from fulfillment_worker.worker.carriers import Carriers, Ended
from fulfillment_worker.worker.delivery import Delivery

_STOPPING_GRACE = 5.0
"""Seconds at most that a handler which was told to stop may go on before it is given up."""
_LOST = Failed(FailureReason.LEASE_LOST, "the lease ran out while the handler ran")


class Executor:
    """Runs attempts and reports how each ended, exactly once.

    The duties of one attempt: 1. run the handler, which ends in a Result; 2. cut it short when its
    time is up or the worker stops: its task is cancelled, and the CancelledError says as what it
    ends; 3. wait a little for it to end; 4. report the result.
    """

    def __init__(
        self,
        handler: Handle,
        order_timeout: float,
        at_once: int,
        unrecorded: Callable[[], int],
    ) -> None:
        """order_timeout: seconds.

        at_once: attempts at most that are under way or not recorded yet; unrecorded: how many of
        the latter there are. So no more orders than that run again should this process die.
        """
        self._handler = handler
        self._timeout = order_timeout
        self._grace = min(order_timeout, _STOPPING_GRACE)
        self._at_once = at_once
        self._unrecorded = unrecorded
        self._carriers = Carriers(self._attempt, self._room)
        # In the order of their start, which is the order of their deadlines, since the time-out is
        # the same for all: one timer, for the first, does for all of them.
        self._running: dict[Delivery, Ended] = {}
        self._stopping: dict[Delivery, Ended] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> int:
        """How many attempts are under way."""
        return len(self._running) + len(self._stopping)

    def start(self, deliveries: list[Delivery], ended: Ended) -> None:
        """Start an attempt at each as soon as there is room.

        `ended` is called in the loop, once for each.
        """
        self._carriers.add([(delivery, ended) for delivery in deliveries])

    def abort(self, deliveries: list[Delivery]) -> None:
        """Cut these short: they end as interrupted, unless they succeed first."""
        for delivery, ended in self._carriers.drop(deliveries):
            ended(delivery, INTERRUPTED)
        for delivery in deliveries:
            if delivery in self._running:
                self._cut_short(delivery, self._running.pop(delivery), INTERRUPTED)

    def discard(self, deliveries: list[Delivery]) -> None:
        """Stop these without a report: they are not this worker's any more."""
        self._carriers.drop(deliveries)
        for delivery in deliveries:
            self._running.pop(delivery, None)
            self._stopping.pop(delivery, None)
            if delivery.task:
                delivery.cut_short = _LOST
                delivery.task.cancel(_LOST)
        self._carriers.go_on()

    def _room(self) -> int:
        under_way = len(self._running) + len(self._stopping)
        return self._at_once - under_way - self._unrecorded()

    async def _attempt(self, delivery: Delivery, ended: Ended, task: asyncio.Task[None]) -> None:
        """Never raises."""
        delivery.started, delivery.task = time.monotonic(), task
        self._running[delivery] = ended
        if self._timer is None:
            self._set_timer(self._timeout)
        assert delivery.order is not None
        result = await self._handler(delivery.order, delivery)
        if delivery.cut_short:
            result = _too_late(result, delivery.cut_short)
        self._report(delivery, result)

    def _report(self, delivery: Delivery, result: Result) -> None:
        ended = self._running.pop(delivery, None) or self._stopping.pop(delivery, None)
        if ended:
            ended(delivery, result)
            self._carriers.go_on()

    def _cut_short(self, delivery: Delivery, ended: Ended, why: Result) -> None:
        assert delivery.task is not None
        self._stopping[delivery] = ended
        delivery.cut_short = why
        delivery.task.cancel(why)
        asyncio.get_running_loop().call_later(self._grace, self._report, delivery, why)

    def _set_timer(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._check_deadlines)

    def _check_deadlines(self) -> None:
        self._timer = None
        while self._running:
            delivery = next(iter(self._running))
            left = delivery.started + self._timeout - time.monotonic()
            if left > 0:
                self._set_timer(left)
                return
            error = f"no result within {self._timeout:g} s"
            why = Failed(FailureReason.TIMEOUT, error)
            self._cut_short(delivery, self._running.pop(delivery), why)


def _too_late(result: Result, cut_short: Result) -> Result:
    """How an attempt ends that was told to end as `cut_short`, and then gave this result.

    A success stands, unless the time was up. A time-out stands, where the handler tells more of it.
    """
    if cut_short is INTERRUPTED:
        return result if result is SUCCEEDED else cut_short
    told = isinstance(result, Failed) and result.reason is FailureReason.TIMEOUT
    return result if told else cut_short
