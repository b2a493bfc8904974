"""A line to Redis: connects when needed, and is dropped whole after any fault."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.events import CommandSent
from fulfillment_worker.core.exchange import QueueUnavailable, nothing
from fulfillment_worker.queue.connection import check_version, explain, open_client
from fulfillment_worker.queue.scripts import Script

Listener = Callable[[CommandSent], None]

_GRACE = 0.1
"""Seconds for the loop to read a reply, if a handler kept it from that until patience ended."""


class Line:
    """One conversation at a time, over a connection of its own.

    After a fault the connection is thrown away: a late reply must never be read as the reply to
    the next command.
    """

    def __init__(
        self,
        url: RedisUrl,
        listener: Listener,
        *,
        on_connect: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        """on_connect: called with each new client, before its first command."""
        self._url = url
        self._listener = listener
        self._on_connect = on_connect
        self._client: Any = None
        self._connection: Any = None
        self._connected = False
        self._calls = 0
        # How many commands were sent behind the one that waits; None where none does.
        self._behind: int | None = None

    async def block(
        self, operation: str, *command: Any, behind: Iterable[tuple[Any, ...]], patience: float
    ) -> list[Any]:
        """Send a command that waits; returns its reply, then those of what was sent behind it.

        operation: its name in the metrics. behind: commands that Redis takes up when this one ends;
        `send_behind` adds to them. None is the reply of those that failed. patience: seconds after
        which to give up. Raises QueueUnavailable.
        """
        asking = self._ask_and_wait(command, behind)
        replies: list[Any] = await self._guarded(operation, asking, patience, blocking=True)
        return replies

    @property
    def waits(self) -> bool:
        """Whether a command waits, so that others may be sent behind it."""
        return self._behind is not None

    async def send_behind(self, *command: Any) -> None:
        """Send one more behind the command that waits."""
        assert self._behind is not None
        self._behind += 1
        # Whether the line holds is for the one to say who waits at its end.
        with contextlib.suppress(RedisError, OSError):
            await self._send(command)

    async def run(
        self,
        script: Script,
        *args: Any,
        patience: float,
        meanwhile: Callable[[], None] = nothing,
    ) -> Any:
        """Run a script, loading it where Redis has forgotten it. Raises QueueUnavailable.

        args: the number of keys, the keys, the arguments. meanwhile: called while the script is on
        its way.
        """
        return await self._guarded(script.name, self._evaluate(script, args, meanwhile), patience)

    async def _evaluate(
        self, script: Script, args: tuple[Any, ...], meanwhile: Callable[[], None]
    ) -> Any:
        try:
            return await self._ask(("EVALSHA", script.sha, *args), meanwhile)
        except NoScriptError:
            return await self._ask(("EVAL", script.text, *args), nothing)

    async def _ask(self, command: tuple[Any, ...], meanwhile: Callable[[], None]) -> Any:
        await self._be_connected()
        if self._connection is None:
            meanwhile()
            return await self._client.execute_command(*command)
        # Written at once, without a turn of the loop: Redis is at work before `meanwhile` is.
        await self._send(command)
        meanwhile()
        return await self._connection.read_response()

    async def _ask_and_wait(
        self, command: tuple[Any, ...], behind: Iterable[tuple[Any, ...]]
    ) -> list[Any]:
        await self._be_connected()
        if self._connection is None:
            return [await self._client.execute_command(*command)]
        await self._send(command)
        self._behind = 0
        try:
            for each in behind:
                await self.send_behind(*each)
            replies = [await self._connection.read_response()]
            while len(replies) <= self._behind:
                replies.append(await self._read_or_none())
            return replies
        finally:
            self._behind = None

    async def _read_or_none(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError:
            return None

    async def _send(self, command: tuple[Any, ...]) -> None:
        packed = self._connection.pack_command(*command)
        await self._connection.send_packed_command(packed, check_health=False)

    async def _be_connected(self) -> None:
        # Closed by the server while nothing was said, or it sent what nobody asked for.
        if self._connection is not None and await self._connection.can_read():
            await self.close()
        if self._client is None:
            await self._connect()

    async def _guarded(
        self,
        operation: str,
        asking: Coroutine[Any, Any, Any],
        patience: float,
        blocking: bool = False,
    ) -> Any:
        started = time.monotonic()
        self._calls += 1
        try:
            reply = await _within(patience, asking)
        except Exception as error:  # the client raises more than it says, RedisClusterException say
            self._listener(CommandSent(operation, False, None))
            sent = self._connected
            await self.close()
            raise QueueUnavailable(explain(error, self._url), sent=sent) from error
        except asyncio.CancelledError:
            await self.close()
            raise
        finally:
            self._calls -= 1
        if blocking:
            # An order may have come, and is to start first: timers are behind what is ready.
            told = CommandSent(operation, True, None)
            asyncio.get_running_loop().call_later(0, self._listener, told)
        else:
            self._listener(CommandSent(operation, True, time.monotonic() - started))
        return reply

    async def _connect(self) -> None:
        self._client = client = open_client(self._url)
        await check_version(client)
        if self._on_connect:
            await self._on_connect(client)
        # The client's own way of sending a command costs more than the trip. A cluster's client
        # keeps it: it finds the node anew for each command.
        if isinstance(client, Redis):
            pool: Any = client.connection_pool
            self._connection = await pool.get_connection()
        self._connected = True

    async def close_if_idle(self) -> None:
        """Drop the connection unless a command is under way: it may be as broken as another is."""
        if not self._calls:
            await self.close()

    async def close(self) -> None:
        """Drop the connection. Idempotent."""
        client, self._client = self._client, None
        self._connection, self._connected = None, False
        if client is not None:
            # It is thrown away; how it went is of no interest.
            with contextlib.suppress(Exception):
                await _within(1.0, client.aclose())


async def _within(seconds: float, asking: Coroutine[Any, Any, Any]) -> Any:
    """Like asyncio.wait_for, but a reply that came while a handler blocked the loop counts."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as limit:
            # By then the loop has read what is there.
            timer = loop.call_later(seconds, lambda: limit.reschedule(loop.time() + _GRACE))
            try:
                return await asking
            finally:
                timer.cancel()
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimeoutError(f"no answer within {seconds:g} s") from None
