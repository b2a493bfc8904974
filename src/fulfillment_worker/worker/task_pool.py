"""The tasks in which attempts run: as few as will do.

Most of what a task costs is its making and its first turn in the loop. So one task carries order
after order, as long as the handlers end without waiting for anything. When one waits, the task is
that order's alone from then on, and another carries on with the rest: so waiting handlers run side
by side, each in a task of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context

from fulfillment_worker.core.capacity import Capacity
from fulfillment_worker.worker.delivery import READY, Delivery

Attempt = Callable[[Delivery, asyncio.Task[None]], Awaitable[None]]

_LONG_TURN = 0.005
"""Seconds of one turn of the loop after which no further attempt is started in it: exchanges and
probes have their turn, too."""
_SLOW_TURN = 0.05
"""Seconds above which a handler is taken to block the loop."""
_BREATH = 0.03
"""Seconds in which the loop is left free after a slow turn, for an exchange to Redis and back. A
hundred handlers that block for 0.3 s each would else silence the worker for longer than its
lease."""
_PATIENCE = 0.1
"""Seconds that an attempt waits for room. Then all who could make some are slow, and another worker
may be free: the order is given back."""
_MOST_AT_ONCE = 1024


class TaskPool:
    """Starts attempts, in the order in which they were given, as the capacity allows.

    attempt: runs one in the task that it is given, and never raises. give_back: ends a delivery
    that found no capacity for long. Who makes some calls `go_on`.
    """

    def __init__(
        self, attempt: Attempt, capacity: Capacity, give_back: Callable[[Delivery], None]
    ) -> None:
        self._attempt = attempt
        self._capacity = capacity
        self._give_back = give_back
        # With the monotonic time since when. Those that are not READY any more are passed over.
        self._waiting: deque[tuple[Delivery, float]] = deque()
        self._impatient: asyncio.TimerHandle | None = None
        self._turning = False
        self._turn_number = 0
        self._turn_began = 0.0
        # Tasks made in one turn at most, and attempts started in this one.
        self._at_once, self._started = 1, 0

    def add(self, deliveries: list[Delivery]) -> None:
        """Start these as soon as it is their turn, unless they leave the stage READY before."""
        now = time.monotonic()
        self._waiting.extend((delivery, now) for delivery in deliveries)
        self.go_on()

    def go_on(self) -> None:
        """Start what waits, if the capacity allows it. Idempotent."""
        if self._waiting and not self._turning:
            self._turning = True
            self._turn()

    def _turn(self) -> None:
        """Once in each turn of the loop while attempts wait, behind those started in the last."""
        loop = asyncio.get_running_loop()
        startable = self._capacity.startable
        if not self._waiting or startable <= 0:
            self._turning = False
            if self._waiting:
                self._lose_patience_later()
            return
        self._turn_began = time.monotonic()
        self._turn_number += 1
        self._started = 0
        try:
            for _ in range(min(self._at_once, len(self._waiting), startable)):
                # The loop keeps it until it starts, and the delivery that it carries from then on.
                loop.create_task(self._run())  # noqa: RUF006
            loop.call_soon(self._look_back)
        except MemoryError:
            # Else none would ever start again.
            self._at_once = 1
            loop.call_later(_BREATH, self._turn)

    def _look_back(self) -> None:
        """The turn is over: did its handlers wait, were they quick, or did they block the loop?"""
        if time.monotonic() - self._turn_began > _SLOW_TURN:
            self._at_once = 1
            asyncio.get_running_loop().call_later(_BREATH, self._turn)
            return
        if self._started > self._at_once:
            self._at_once = 1
        elif self._waiting:
            # Not more than there was time for, or most of them would be made for nothing.
            self._at_once = max(1, min(2 * self._started, _MOST_AT_ONCE))
        self._turn()

    async def _run(self) -> None:
        """Run attempt after attempt, until one has waited."""
        task = asyncio.current_task()
        assert task is not None
        turn, context = self._turn_number, copy_context()
        while self._waiting and self._capacity.startable > 0 and self._has_time():
            delivery, _ = self._waiting.popleft()
            if delivery.stage is not READY:
                continue
            self._started += 1
            await self._attempt(delivery, task)
            if self._turn_number != turn or _left_traces(task, context):
                return

    def _has_time(self) -> bool:
        """Whether one more attempt may start in this turn.

        The first one may always: what else makes turns long must not keep orders from starting.
        """
        return not self._started or time.monotonic() - self._turn_began <= _LONG_TURN

    def _lose_patience_later(self) -> None:
        if self._impatient is None:
            due = self._waiting[0][1] + _PATIENCE - time.monotonic()
            loop = asyncio.get_running_loop()
            self._impatient = loop.call_later(max(0.0, due), self._lose_patience)

    def _lose_patience(self) -> None:
        self._impatient = None
        # The same sum as above: another may round to a moment that has not come, again and again.
        now = time.monotonic()
        while (
            self._waiting
            and self._waiting[0][1] + _PATIENCE <= now
            and self._capacity.startable <= 0
        ):
            delivery, _ = self._waiting.popleft()
            if delivery.stage is READY:
                self._give_back(delivery)
        if self._waiting and self._capacity.startable <= 0:
            self._lose_patience_later()


def _left_traces(task: asyncio.Task[None], context: Context) -> bool:
    """Whether an attempt left in `task` what the next order must not find."""
    if task.cancelling() or getattr(task, "_must_cancel", False):
        # Up to Python 3.12, `uncancel` takes back the count alone, and the next await is cut short.
        return True
    try:
        return copy_context() != context
    except BaseException:  # noqa: BLE001 - a value that the handler has set may do anything
        return True
