"""The worker: consumers of its queues, and the life from the first claim to the drain."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fulfillment_worker.core.attempt import Handle
from fulfillment_worker.core.breaker import Breaker, BreakerRules
from fulfillment_worker.core.capacity import Capacity
from fulfillment_worker.core.exchange import Queue
from fulfillment_worker.worker.consumer import Consumer, Shared
from fulfillment_worker.worker.executor import Executor
from fulfillment_worker.worker.gate import Gate
from fulfillment_worker.worker.intake import OrderRules
from fulfillment_worker.worker.ledger import Emit


class Worker:
    """Consumes orders until it is told to stop.

    1. `run` claims and handles orders. 2. `quiet` stops claiming; what runs goes on. 3. `abort`
    cuts short what still runs and gives it back. `run` returns when nothing is held any more.

    capacity: what is in its hands, counted.
    """

    def __init__(
        self,
        queues: Sequence[Queue],
        handler: Handle,
        *,
        rules: OrderRules,
        concurrency: int,
        order_timeout: float,
        lease: float,
        emit: Emit,
        breaker: BreakerRules | None = None,
    ) -> None:
        self.capacity = Capacity(concurrency, len(queues))
        shared = Shared(
            rules=rules,
            lease=lease,
            capacity=self.capacity,
            executor=Executor(handler, order_timeout, self.capacity),
            gate=Gate(Breaker(breaker), self.capacity, emit),
            emit=emit,
            alone=len(queues) == 1,
            capacity_freed=self._nudge_next if len(queues) > 1 else _nobody_else,
        )
        self._consumers = [Consumer(queue, rank, shared) for rank, queue in enumerate(queues)]

    @property
    def running(self) -> int:
        """How many attempts are under way."""
        return self.capacity.running

    @property
    def holding(self) -> int:
        """How many orders are held, in whatever stage."""
        return sum(consumer.holding for consumer in self._consumers)

    @property
    def names(self) -> dict[str, str]:
        """For each queue, the name under which its orders are held now."""
        return {each.queue: each.name for each in self._consumers}

    async def run(self) -> None:
        """Consume until `quiet` was called and nothing is held any more."""
        async with asyncio.TaskGroup() as group:
            for consumer in self._consumers:
                group.create_task(consumer.run())

    def quiet(self) -> None:
        """Claim no more; what runs goes on."""
        for consumer in self._consumers:
            consumer.quiet()

    def wake(self) -> None:
        """Ask all queues now: there may be orders that nothing else tells of."""
        for consumer in self._consumers:
            consumer.wake()

    def abort(self) -> None:
        """Cut short what still runs; it is requeued at no cost to the orders."""
        for consumer in self._consumers:
            consumer.abort()

    def _nudge_next(self) -> None:
        for rank in self.capacity.next():
            self._consumers[rank].nudge()


def _nobody_else() -> None:
    """With one queue, nobody waits for the capacity that it frees."""
