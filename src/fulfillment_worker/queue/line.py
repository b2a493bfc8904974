"""A line to Redis: connects when needed, and is dropped whole after any fault."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

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

    async def call(
        self, operation: str, *command: Any, patience: float, blocking: bool = False
    ) -> Any:
        """Send one command and return its reply.

        operation: its name in the metrics. patience: seconds after which to give up.
        blocking: the command waits for orders, so its duration tells nothing.
        Raises QueueUnavailable.
        """
        return await self._guarded(operation, self._ask(command, nothing), patience, blocking)

    async def run(
        self,
        script: Script,
        keys: list[str],
        *args: Any,
        patience: float,
        meanwhile: Callable[[], None] = nothing,
    ) -> Any:
        """Run a script, loading it where Redis has forgotten it. Raises QueueUnavailable.

        meanwhile: called while the script is on its way.
        """
        return await self._guarded(
            script.name, self._evaluate(script, (len(keys), *keys, *args), meanwhile), patience
        )

    async def _evaluate(
        self, script: Script, args: tuple[Any, ...], meanwhile: Callable[[], None]
    ) -> Any:
        try:
            return await self._ask(("EVALSHA", script.sha, *args), meanwhile)
        except NoScriptError:
            return await self._ask(("EVAL", script.text, *args), nothing)

    async def _ask(self, command: tuple[Any, ...], meanwhile: Callable[[], None]) -> Any:
        # Closed by the server while nothing was said, or it sent what nobody asked for.
        if self._connection is not None and await self._connection.can_read():
            await self.close()
        if self._client is None:
            await self._connect()
        connection = self._connection
        if connection is None:
            meanwhile()
            return await self._client.execute_command(*command)
        # Written at once, without a turn of the loop: Redis is at work before `meanwhile` is.
        await connection.send_packed_command(connection.pack_command(*command), check_health=False)
        meanwhile()
        return await connection.read_response()

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
        seconds = None if blocking else time.monotonic() - started
        self._listener(CommandSent(operation, True, seconds))
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
