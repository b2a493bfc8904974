"""The worker: conversations with its queues, and the life from the first claim to the drain."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fulfillment_worker.core.attempt import Handle
from fulfillment_worker.core.breaker import Breaker, BreakerRules
from fulfillment_worker.core.exchange import Queue
from fulfillment_worker.core.slots import Slots
from fulfillment_worker.worker.conversation import Conversation, Terms
from fulfillment_worker.worker.executor import Executor
from fulfillment_worker.worker.guard import Guard
from fulfillment_worker.worker.ledger import OrderRules, Tell


class Worker:
    """Consumes orders until it is told to stop.

    1. `run` claims and handles orders. 2. `quiet` stops claiming; what runs goes on. 3. `abort`
    cuts short what still runs and gives it back. `run` returns when nothing is held any more.
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
        self._executor = Executor(handler, order_timeout, concurrency, self._unrecorded)
        self._slots = Slots(concurrency, len(queues))
        self._holders: set[Conversation] = set()
        terms = Terms(
            rules=rules,
            lease=lease,
            slots=self._slots,
            executor=self._executor,
            guard=Guard(Breaker(breaker), self._slots, tell, lambda: self.running),
            tell=tell,
            alone=len(queues) == 1,
            room_freed=self._nudge_next if len(queues) > 1 else _nobody_else,
            holders=self._holders,
        )
        self._conversations = [
            Conversation(queue, rank, terms) for rank, queue in enumerate(queues)
        ]
        self._only = self._conversations[0].unrecorded if len(queues) == 1 else None

    @property
    def running(self) -> int:
        """How many attempts are under way."""
        return self._executor.running

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

    def _unrecorded(self) -> int:
        # Once for each order, and nearly always of one queue; idle queues must cost nothing.
        if self._only:
            return self._only()
        unrecorded = 0
        for conversation in self._holders:
            unrecorded += conversation.unrecorded()
        return unrecorded

    def _nudge_next(self) -> None:
        for rank in self._slots.next():
            self._conversations[rank].nudge()


def _nobody_else() -> None:
    """With one queue, nobody waits for the room that it frees."""
