"""Giving back the orders of a process that has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from logging import WARNING

from fulfillment_worker.core.events import Event, Gone, OrdersRecovered
from fulfillment_worker.core.exchange import Queue, QueueUnavailable
from fulfillment_worker.observability.logs import log

_PAUSE = 0.5
"""Seconds between attempts to reach Redis."""


class Releaser:
    """Puts back what dead children held; the only one that may, since it knows that they are dead.

    queues: those that the children serve. lease: seconds after which others do the same.
    """

    def __init__(
        self, queues: Sequence[Queue], lease: float, tell: Callable[[Event], None]
    ) -> None:
        self._queues = {queue.name: queue for queue in queues}
        self._lease = lease
        self._tell = tell
        self._turn = asyncio.Lock()

    async def release(self, names: Mapping[str, str], reason: Gone) -> None:
        """names: for each queue, under which the child held its orders. reason: how it ended."""
        async with self._turn:
            ends = time.monotonic() + self._lease
            for queue, name in names.items():
                await self._release(self._queues[queue], name, reason, ends)
                # Between two deaths may lie months; and a connection is a cost to Redis.
                await self._queues[queue].close()

    async def _release(self, queue: Queue, name: str, reason: Gone, ends: float) -> None:
        while True:
            try:
                released = await queue.release(name)
            except QueueUnavailable as why:
                if time.monotonic() + _PAUSE > ends:
                    log(WARNING, "orders_not_released", queue=queue.name, worker=name, why=str(why))
                    return
                await asyncio.sleep(_PAUSE)
            else:
                break
        if released.recovered:
            recovered, orphaned = released.recovered, released.orphaned
            self._tell(OrdersRecovered(queue.name, recovered, orphaned, reason))
