"""The worker: conversations with its queues, and the life from the first claim to the drain."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fulfillment_worker.core.attempt import Handle
from fulfillment_worker.core.breaker import Breaker, BreakerRules
from fulfillment_worker.core.capacity import Capacity
from fulfillment_worker.core.exchange import Queue
from fulfillment_worker.worker.conversation import Conversation, Terms
from fulfillment_worker.worker.executor import Executor
from fulfillment_worker.worker.guard import Guard
from fulfillment_worker.worker.ledger import OrderRules, Tell


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
        tell: Tell,
        breaker: BreakerRules | None = None,
    ) -> None:
        self.capacity = Capacity(concurrency, len(queues))
        terms = Terms(
            rules=rules,
            lease=lease,
            capacity=self.capacity,
            executor=Executor(handler, order_timeout, self.capacity),
            guard=Guard(Breaker(breaker), self.capacity, tell),
            tell=tell,
            alone=len(queues) == 1,
            capacity_freed=self._nudge_next if len(queues) > 1 else _nobody_else,
        )
        self._conversations = [
            Conversation(queue, rank, terms) for rank, queue in enumerate(queues)
        ]

    @property
    def running(self) -> int:
        """How many attempts are under way."""
        return self.capacity.running

    @property
    def holding(self) -> int:
        """How many orders are held, in whatever stage."""
        return sum(conversation.holding for conversation in self._conversations)

    @property
    def names(self) -> dict[str, str]:
        """For each queue, the name under which its orders are held now."""
        return {each.queue: each.name for each in self._conversations}

    async def run(self) -> None:
        """Consume until `quiet` was called and nothing is held any more."""
        async with asyncio.TaskGroup() as group:
            for conversation in self._conversations:
                group.create_task(conversation.run())

    def quiet(self) -> None:
        """Claim no more; what runs goes on."""
        for conversation in self._conversations:
            conversation.quiet()

    def look(self) -> None:
        """Orders may be due that nothing else tells of: ask all queues now."""
        for conversation in self._conversations:
            conversation.look()

    def abort(self) -> None:
        """Cut short what still runs; it is requeued at no cost to the orders."""
        for conversation in self._conversations:
            conversation.abort()

    def _nudge_next(self) -> None:
        for rank in self.capacity.next():
            self._conversations[rank].nudge()


def _nobody_else() -> None:
    """With one queue, nobody waits for the capacity that it frees."""
