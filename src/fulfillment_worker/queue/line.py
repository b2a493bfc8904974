"""A line to Redis: connects when needed, and is dropped whole after any fault."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.events import CommandSent
from fulfillment_worker.core.exchange import QueueUnavailable, nothing
from fulfillment_worker.queue.connection import check_version, explain, open_client
from fulfillment_worker.queue.scripts import Script
from fulfillment_worker.queue.wire import Answer, Wire

Listener = Callable[[CommandSent], None]

PATIENCE = 2.0
"""Seconds of silence after which an answer is given up, and the connection with it. Claiming must
resume within 2 s of Redis's return, and a script that takes longer than this is nothing we send. A
large answer over a slow line may take longer: patience lasts while bytes of it arrive."""
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
        # None where the client has to say it: a cluster's finds the node anew for each command.
        self._wire: Wire | None = None
        self._connected = False
        self._calls = 0
        # What was sent behind the command that waits; None where none does.
        self._behind: list[Answer] | None = None

    async def block(
        self, operation: str, *command: Any, behind: Iterable[tuple[Any, ...]], patience: float
    ) -> list[Any]:
        """Send a command that waits; returns its reply, then those of what was sent behind it.

        operation: its name in the metrics. behind: commands that Redis takes up when this one ends;
        `send_behind` adds to them. None is the reply of those that failed. patience: seconds after
        which to give up. Raises QueueUnavailable.
        """
        until = time.monotonic() + patience
        asking = self._ask_and_wait(command, behind, until)
        replies: list[Any] = await self._guarded(operation, asking, patience, blocking=True)
        return replies

    @property
    def waits(self) -> bool:
        """Whether a command waits, so that others may be sent behind it."""
        return self._behind is not None

    def send_behind(self, *command: Any) -> None:
        """Send one more behind the command that waits."""
        assert self._wire is not None
        assert self._behind is not None
        self._behind += self._wire.send(command)

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
        until = time.monotonic() + patience
        asking = self._evaluate(script, args, meanwhile, until)
        return await self._guarded(script.name, asking, patience)

    async def _evaluate(
        self, script: Script, args: tuple[Any, ...], meanwhile: Callable[[], None], until: float
    ) -> Any:
        try:
            return await self._ask(("EVALSHA", script.sha, *args), meanwhile, until)
        except NoScriptError:
            return await self._ask(("EVAL", script.text, *args), nothing, until)

    async def _ask(
        self, command: tuple[Any, ...], meanwhile: Callable[[], None], until: float
    ) -> Any:
        await self._be_connected(until)
        if self._wire is None:
            meanwhile()
            return await _within(until, self._client.execute_command(*command))
        # Written at once, without a turn of the loop: Redis is at work before `meanwhile` is.
        (answer,) = self._wire.send(command)
        meanwhile()
        return await _by(until, answer, self._wire)

    async def _ask_and_wait(
        self, command: tuple[Any, ...], behind: Iterable[tuple[Any, ...]], until: float
    ) -> list[Any]:
        await self._be_connected(until)
        if self._wire is None:
            return [await _within(until, self._client.execute_command(*command))]
        wire = self._wire
        (answer,) = wire.send(command)
        self._behind = wire.send(*behind)
        try:
            replies = [await _by(until, answer, wire)]
            for each in self._behind:
                replies.append(await _or_none(_by(until, each, wire)))
            return replies
        finally:
            self._behind = None

    async def _be_connected(self, until: float) -> None:
        # Closed by the server while nothing was said, or it said what nobody had asked for.
        if self._wire is not None and self._wire.broken:
            await self.close()
        if self._client is None:
            await _within(until, self._connect())

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
            reply = await asking
        except Exception as error:  # the client raises more than it says, RedisClusterException say
            self._listener(CommandSent(operation, False, None))
            sent = self._connected
            await self.close()
            if isinstance(error, TimeoutError):
                error = TimeoutError(f"no answer within {patience:g} s")
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
        # The client's own way of sending a command costs more than the trip.
        if isinstance(client, Redis):
            pool: Any = client.connection_pool
            self._wire = Wire(await pool.get_connection())
        self._connected = True

    async def close_if_idle(self) -> None:
        """Drop the connection unless a command is under way: it may be as broken as another is."""
        if not self._calls:
            await self.close()

    async def close(self) -> None:
        """Drop the connection. Idempotent."""
        client, self._client = self._client, None
        self._wire, self._connected = None, False
        if client is not None:
            # It is thrown away; how it went is of no interest.
            with contextlib.suppress(Exception):
                await _within(time.monotonic() + 1.0, client.aclose())


async def _or_none(asking: Awaitable[Any]) -> Any:
    try:
        return await asking
    except ResponseError:
        return None


async def _by(until: float, answer: Answer, wire: Wire) -> Any:
    """The answer; TimeoutError if it isn't there by then (monotonic seconds), and is not coming."""
    if not answer.done():
        loop = asyncio.get_running_loop()
        asked = answer, wire, loop.time()
        timer = loop.call_later(until - time.monotonic(), _lose_patience, *asked)
        try:
            return await answer
        finally:
            timer.cancel()
    return answer.result()


def _lose_patience(answer: Answer, wire: Wire, since: float) -> None:
    # By then the loop has read what is there.
    asyncio.get_running_loop().call_later(_GRACE, _give_up, answer, wire, since)


def _give_up(answer: Answer, wire: Wire, since: float) -> None:
    if answer.done():
        return
    loop = asyncio.get_running_loop()
    left = wire.heard_at + PATIENCE - loop.time()
    if wire.heard_at > since and left > 0:
        loop.call_later(left, _lose_patience, answer, wire, since)
    else:
        answer.set_exception(TimeoutError())


async def _within(until: float, asking: Awaitable[Any]) -> Any:
    """What the client says, if it does by then; else TimeoutError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        # As in `_lose_patience`.
        timer = loop.call_later(
            until - time.monotonic(), lambda: limit.reschedule(loop.time() + _GRACE)
        )
        try:
            return await asking
        finally:
            timer.cancel()
