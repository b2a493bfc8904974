"""A line to Redis: connects when needed, and is dropped whole after any fault."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import NoScriptError

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.events import CommandSent
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.queue.connection import check_version, explain, open_client
from fulfillment_worker.queue.scripts import Script

Listener = Callable[[CommandSent], None]


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
        return await self._guarded(
            operation, lambda client: client.execute_command(*command), patience, blocking
        )

    async def run(self, script: Script, keys: list[str], *args: Any, patience: float) -> Any:
        """Run a script, loading it where Redis has forgotten it. Raises QueueUnavailable."""

        async def evaluate(client: Any) -> Any:
            try:
                return await client.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
            except NoScriptError:
                return await client.execute_command("EVAL", script.text, len(keys), *keys, *args)

        return await self._guarded(script.name, evaluate, patience, False)

    async def _guarded(
        self, operation: str, use: Callable[[Any], Any], patience: float, blocking: bool
    ) -> Any:
        started = time.monotonic()
        self._calls += 1
        try:
            reply = await _within(patience, self._use(use))
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

    async def _use(self, use: Callable[[Any], Any]) -> Any:
        if self._client is None:
            self._client = open_client(self._url)
            await check_version(self._client)
            if self._on_connect:
                await self._on_connect(self._client)
            self._connected = True
        return await use(self._client)

    async def close_if_idle(self) -> None:
        """Drop the connection unless a command is under way: it may be as broken as another is."""
        if not self._calls:
            await self.close()

    async def close(self) -> None:
        """Drop the connection. Idempotent."""
        client, self._client, self._connected = self._client, None, False
        if client is not None:
            # It is thrown away; how it went is of no interest.
            with contextlib.suppress(Exception):
                await _within(1.0, client.aclose())


async def _within(seconds: float, awaitable: Any) -> Any:
    """Like asyncio.wait_for, but a reply that came while a handler blocked the loop counts."""
    task = asyncio.ensure_future(awaitable)
    try:
        for patience in (seconds, 0.1):
            done, _ = await asyncio.wait({task}, timeout=patience)
            if done:
                return task.result()
    except asyncio.CancelledError:
        await _end(task)
        raise
    await _end(task)
    raise TimeoutError(f"no answer within {seconds:g} s")


async def _end(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=1.0)
    if task.done() and not task.cancelled():
        task.exception()  # It was asked to stop; what it ended with is of no interest.
