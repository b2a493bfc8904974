"""What the queues of one worker share where they are many: two connections, and no more.

A queue of its own takes two connections, and a thousand of them would be set up at once, each of
them late because of the others. On the shared connection exchanges are pipelined.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from redis.exceptions import ResponseError

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.queue.client import Client, Command, Heartbeats, Listener, begin
from fulfillment_worker.queue.connection import Connection
from fulfillment_worker.queue.library import Function
from fulfillment_worker.queue.tracking import ListTracking

FEW = 8
"""With so many queues, each has connections of its own, and an order wakes one idle worker."""
_AT_ONCE = 32
"""Exchanges under way at once: the last of them is answered long before patience ends."""

First = Callable[[], Iterable[Command]]


class SharedConnections:
    """What many queues share. Not for a cluster, whose queues are on different servers."""

    def __init__(self, url: RedisUrl, listener: Listener) -> None:
        self._client = _SharedClient(url, listener)
        self.watch = ListTracking(url, listener)

    def client(self, first: First) -> QueueClient:
        """The shared client for one queue. first: what it says first on each new connection."""
        return QueueClient(self._client, first)


class _SharedClient(Client):
    """A connection on which many exchanges are under way at once.

    An error that Redis answers concerns one exchange, and the connection stays; any other fault
    ends it for all, and each queue asks what became of its own exchange.
    """

    def __init__(self, url: RedisUrl, listener: Listener) -> None:
        super().__init__(url, listener)
        self.users: set[QueueClient] = set()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._connecting = asyncio.Lock()

    async def send_for(
        self,
        user: QueueClient,
        function: Function,
        args: tuple[Any, ...],
        patience: float,
        heart: Heartbeats | None,
    ) -> Awaitable[Any]:
        """As `send`, when it is the exchange's turn; what the queue says first is said before."""
        self.users.add(user)
        await self._turns.acquire()
        try:
            if (
                self._connection is None
                or self._connection.broken
                or user.known_to is not self._connection
            ):
                await self._timed("other", self._introduce(user), time.monotonic())
            answer = await self.send(function, *args, patience=patience, heart=heart)
        except BaseException:
            self._turns.release()
            raise
        return self._in_turn(answer)

    async def _in_turn(self, answer: Awaitable[Any]) -> Any:
        try:
            return await answer
        finally:
            self._turns.release()

    async def _introduce(self, user: QueueClient) -> None:
        connection = await self._connected()
        await begin(connection, user.first())
        user.known_to = connection

    async def _connected(self) -> Connection:
        async with self._connecting:
            return await super()._connected()

    def _outlives(self, error: BaseException) -> bool:
        return isinstance(error, ResponseError | asyncio.CancelledError)


class QueueClient:
    """The shared client for one queue. known_to: the connection on which it said its first."""

    def __init__(self, shared: _SharedClient, first: First) -> None:
        self._shared = shared
        self.first = first
        self.known_to: Connection | None = None

    async def send(
        self, function: Function, *args: Any, patience: float, heart: Heartbeats | None = None
    ) -> Awaitable[Any]:
        """See Client."""
        return await self._shared.send_for(self, function, args, patience, heart)

    async def call(self, function: Function, *args: Any, patience: float) -> Any:
        """See Client."""
        return await (await self.send(function, *args, patience=patience))

    async def close_if_idle(self) -> None:
        """Nothing: the other queues' exchanges tell whether the connection is broken."""

    async def close(self) -> None:
        """Drop the connection if no other queue uses it. Idempotent."""
        self._shared.users.discard(self)
        if not self._shared.users:
            await self._shared.close()
