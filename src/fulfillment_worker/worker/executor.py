"""Attempts: the handler run on an order, within its time, whatever the handler does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping

from fulfillment_worker.core.attempt import Handle
from fulfillment_worker.core.capacity import Capacity
from fulfillment_worker.core.outcome import (
    INTERRUPTED,
    Failed,
    FailureReason,
    Result,
    Stopped,
    Succeeded,
    Withdrawal,
)
from fulfillment_worker.worker.delivery import GONE, READY, RUNNING, STOPPING, Delivery
from fulfillment_worker.worker.task_pool import TaskPool

_STOPPING_GRACE = 5.0
"""Seconds at most that a handler which was told to stop may go on before it is given up."""
_LOST = Failed(FailureReason.LEASE_LOST, "the lease ran out while the handler ran")


class Executor:
    """Runs attempts and reports how each ended, exactly once.

    The duties of one attempt: 1. run the handler, which ends in a Result; 2. cut it short when its
    time is up or the worker stops: its task is cancelled, and the CancelledError says as what it
    ends; 3. wait a little for it to end; 4. report the result.
    """

    def __init__(self, handler: Handle, order_timeout: float, capacity: Capacity) -> None:
        """order_timeout: seconds."""
        self._handler = handler
        self._timeout = order_timeout
        self._grace = min(order_timeout, _STOPPING_GRACE)
        self._capacity = capacity
        self._pool = TaskPool(self._attempt, capacity, _give_back)
        # In the order of their start, which is the order of their deadlines, since the time-out is
        # the same for all: one timer, for the first, does for all of them.
        self._running: dict[Delivery, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, deliveries: list[Delivery]) -> None:
        """Start an attempt at each as soon as the capacity allows it."""
        self._pool.add(deliveries)

    def abort(self, deliveries: Iterable[Delivery]) -> None:
        """Cut these short: they end as interrupted, unless they succeed first."""
        for delivery in deliveries:
            if delivery.stage is READY:
                _give_back(delivery)
            elif delivery.stage is RUNNING:
                self._cut_short(delivery, INTERRUPTED)

    def withdraw(self, deliveries: Iterable[Delivery], stops: Mapping[int, Withdrawal]) -> None:
        """Stop those of these that an operator wants held or cancelled, unless they succeed first.

        One that can't be stopped goes on until it ends or its time is up: nobody is told before
        that it was stopped.
        """
        for delivery in deliveries:
            becomes = stops.get(delivery.id)
            if becomes is None:
                continue
            if delivery.stage is READY:
                delivery.owner.attempt_ended(delivery, Stopped(becomes))
            elif delivery.stage is RUNNING and not delivery.cut_short:
                assert delivery.task is not None
                delivery.cut_short = Stopped(becomes)
                delivery.task.cancel(delivery.cut_short)

    def discard(self, deliveries: Iterable[Delivery]) -> None:
        """Stop these without a report: they are not this worker's any more."""
        for delivery in deliveries:
            self._running.pop(delivery, None)
            if delivery.stage is not READY:
                self._capacity.stopped()
            delivery.stage = GONE
            if delivery.task:
                delivery.cut_short = _LOST
                delivery.task.cancel(_LOST)
        self._pool.go_on()

    async def _attempt(self, delivery: Delivery, task: asyncio.Task[None]) -> None:
        """Never raises."""
        delivery.stage, delivery.started, delivery.task = RUNNING, time.monotonic(), task
        self._capacity.started()
        self._running[delivery] = None
        if self._timer is None:
            self._set_timer(self._timeout)
        assert delivery.order is not None
        result = await self._handler(delivery.order, delivery)
        if delivery.cut_short:
            result = _too_late(result, delivery.cut_short)
        self._report(delivery, result)

    def _report(self, delivery: Delivery, result: Result) -> None:
        if delivery.stage is RUNNING:
            del self._running[delivery]
        elif delivery.stage is not STOPPING:
            return  # reported before, or discarded
        delivery.owner.attempt_ended(delivery, result)
        self._pool.go_on()

    def _cut_short(self, delivery: Delivery, why: Result) -> None:
        assert delivery.task is not None
        del self._running[delivery]
        delivery.stage, delivery.cut_short = STOPPING, why
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
            self._cut_short(delivery, Failed(FailureReason.TIMEOUT, error))


def _give_back(delivery: Delivery) -> None:
    delivery.owner.attempt_ended(delivery, INTERRUPTED)


def _too_late(result: Result, cut_short: Result) -> Result:
    """How an attempt ends that was told to end as `cut_short`, and then gave this result.

    A success stands, unless the time was up. A time-out stands, where the handler tells more of it.
    """
    if cut_short is INTERRUPTED or type(cut_short) is Stopped:
        return result if isinstance(result, Succeeded) else cut_short
    told = isinstance(result, Failed) and result.reason is FailureReason.TIMEOUT
    return result if told else cut_short
