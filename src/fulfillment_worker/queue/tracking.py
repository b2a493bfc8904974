"""Hears of orders that come to any of many empty queues, over one connection.

Redis tells a client when a key changes that it has asked about (`CLIENT TRACKING`). So nothing is
taken off a list to wake a worker, and no order belongs to nobody. All workers that watch a queue
are woken by an order, and the first takes it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.queue import library
from fulfillment_worker.queue.client import Client, Listener, load_and_ask
from fulfillment_worker.queue.connection import Hear
from fulfillment_worker.queue.library import Function

_MOST_KEYS = 500
"""Of one command, so that Redis is never busy for long."""
_PING_EVERY = 10.0
"""Seconds after which a connection that has said nothing is tried: it may be half open."""
_POLL_EVERY = 0.5
"""Seconds between two looks at all lists, where the user has no right to be told of changes."""

_Waiting = dict[bytes, asyncio.Future[None]]


class ListTracking:
    """Waits for orders on behalf of many queues."""

    def __init__(self, url: RedisUrl, listener: Listener) -> None:
        self._client = _TrackingClient(url, listener, self._heard)
        self._waiting: _Waiting = {}
        self._wakes: dict[bytes, Callable[[], None]] = {}
        self._new: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    def on_wake(self, channel: str, wake: Callable[[], None]) -> None:
        """Call `wake` when something is published on the channel."""
        self._wakes[channel.encode()] = wake
        self._client.channels.append(channel)

    async def wait(self, key: str) -> None:
        """Return when an order may have come to the list `key`. Raises QueueUnavailable."""
        name = key.encode()
        came = asyncio.get_running_loop().create_future()
        self._waiting[name] = came
        self._new.append(name)
        self._wanted.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        try:
            await came
        finally:
            if self._waiting.get(name) is came:
                del self._waiting[name]
            await self._rest()

    async def _rest(self) -> None:
        """Let go of the connection when nobody waits any more."""
        if self._waiting or self._task is None:
            return
        await asyncio.sleep(0)  # who was woken may wait again at once
        if not self._waiting and self._task is not asyncio.current_task():
            self._task.cancel()
            await self._client.close()

    async def _watch(self) -> None:
        try:
            while True:
                self._wanted.clear()
                if self._new:
                    await asyncio.sleep(0)  # others may want the same
                    names, self._new = self._new[:_MOST_KEYS], self._new[_MOST_KEYS:]
                    await self._ask_about([name for name in names if name in self._waiting])
                    continue
                try:
                    async with asyncio.timeout(
                        _POLL_EVERY if self._client.is_deaf else _PING_EVERY
                    ):
                        await self._wanted.wait()
                except TimeoutError:
                    await self._try_again()
        except QueueUnavailable as error:
            self._new.clear()
            for came in self._waiting.values():
                if not came.done():
                    came.set_exception(QueueUnavailable(str(error)))

    async def _try_again(self) -> None:
        if self._client.is_deaf:
            self._new.extend(self._waiting)
        else:
            await self._client.track([])

    async def _ask_about(self, names: list[bytes]) -> None:
        """Have Redis tell of changes to these lists, and look whether any has orders already."""
        for number in await self._client.track(names) if names else ():
            self._ring(names[number - 1])

    def _heard(self, pushed: list[Any] | None) -> None:
        """What Redis tells by itself; None where the connection is gone: ask about all again."""
        if pushed is None:
            self._new.extend(self._waiting)
            self._wanted.set()
        elif pushed[0] == b"message":
            self._wakes[pushed[1]]()
        elif pushed[0] == b"invalidate":
            for name in pushed[1] or list(self._waiting):
                self._ring(name)

    def _ring(self, name: bytes) -> None:
        came = self._waiting.get(name)
        if came is not None and not came.done():
            came.set_result(None)


class _TrackingClient(Client):
    """A connection that hears what Redis says by itself. is_deaf: the user lacks the right to."""

    def __init__(self, url: RedisUrl, listener: Listener, hear: Hear) -> None:
        super().__init__(url, listener)
        self._hear = hear
        self.is_deaf = False
        self.channels: list[str] = []

    async def track(self, names: list[bytes]) -> list[int]:
        """Have changes of these lists told, once each; returns which have orders, from 1."""
        filled: list[int] = await self._timed("wait", self._track(names), time.monotonic())
        return filled

    async def _track(self, names: list[bytes]) -> Any:
        connection = await self._connected()
        if not connection.hear:
            connection.hear = self._hear
            connection.send(("CLIENT", "TRACKING", "ON", "OPTIN"))
            connection.subscribe(*self.channels)
        # The first takes effect on the next command alone, so both are sent together.
        looking = library.LIBRARY.call(Function.FILLED, len(names), *names)
        asking = ("CLIENT", "CACHING", "YES"), looking
        caching, filled = await connection.ask(asking)
        if library.is_missing(filled):
            caching, filled = await load_and_ask(connection, asking)
        self.is_deaf = isinstance(caching, ResponseError)
        if isinstance(filled, Exception):
            raise filled
        return filled
