"""A worker's client: connects when needed, and drops its connection after any fault."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.events import CommandSent
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.queue import library
from fulfillment_worker.queue.connection import PATIENCE, Answer, Connection, Hear, by
from fulfillment_worker.queue.discovery import open_connection
from fulfillment_worker.queue.library import Function
from fulfillment_worker.queue.redis_errors import explain

Listener = Callable[[CommandSent], None]
Command = tuple[Any, ...]
_T = TypeVar("_T")

_UNUSED_FOR = 3_600_000
"""ms after which a library of another version is taken for unused. Idle workers call theirs every
12 s at most."""
_MOST_LOADS = 3
"""For one call."""
_LONGEST_TRANSFER = 60.0
"""Seconds for which heartbeats go on behind an answer that is arriving: then others may have it."""


class Heartbeats:
    """Sends heartbeats behind an answer that is arriving: Redis takes them up meanwhile.

    command: sent every 2 s or so; returns 1 if it took effect. None is sent where it is empty.
    beat_at: when the last one was sent (monotonic seconds), if all took effect; else None.
    """

    __slots__ = ("_answers", "_began", "_command", "beat_at", "connection")

    def __init__(self, command: Command = ()) -> None:
        self.connection: Connection
        self._command = command
        self._began = time.monotonic()
        self._answers: list[Answer] = []
        self.beat_at: float | None = None

    def beat(self) -> None:
        """Send one; for a minute at most."""
        now = time.monotonic()
        if self._command and now - self._began < _LONGEST_TRANSFER:
            self._answers += self.connection.send(self._command)
            self.beat_at = now

    async def hear(self) -> None:
        """Learn what became of them."""
        for answer in self._answers:
            if await _or_none(by(PATIENCE, answer, self.connection)) != 1:
                self.beat_at = None
                return


class Client:
    """One conversation at a time, over a connection of its own.

    After a fault the connection is thrown away: a late reply must never be read as the reply to
    the next command.
    """

    def __init__(
        self,
        url: RedisUrl,
        listener: Listener,
        *,
        key: str = "",
        first: Callable[[], Iterable[Command]] = tuple,
    ) -> None:
        """key: what is asked for; a cluster's node is found by it. first: commands that each new
        connection begins with, sent together; where one is refused, the connection is given up.
        """
        self._url = url
        self._listener = listener
        self._key = key
        self._first = first
        self._connection: Connection | None = None
        self._calls = 0
        # What was sent behind the command that waits; None where none does.
        self._behind: list[Answer] | None = None

    async def block(
        self, operation: str, *command: Any, behind: Iterable[Command], patience: float
    ) -> list[Any]:
        """Send a command that waits; returns its reply, then those of what was sent behind it.

        operation: its name in the metrics. behind: commands that Redis takes up when this one ends;
        `send_behind` adds to them. None is the reply of those that failed. patience: seconds after
        which to give up. Raises QueueUnavailable.
        """
        replies: list[Any] = await self._checked(
            operation, self._ask_and_wait(command, behind, patience)
        )
        # An order may have come, and is to start first: timers are behind what is ready.
        told = CommandSent(operation, True, None)
        asyncio.get_running_loop().call_later(0, self._listener, told)
        return replies

    @property
    def waits(self) -> bool:
        """Whether a command waits, so that others may be sent behind it."""
        return self._behind is not None

    def send_behind(self, *command: Any) -> None:
        """Send one more behind the command that waits."""
        assert self._connection is not None
        assert self._behind is not None
        self._behind += self._connection.send(command)

    async def send(
        self, function: Function, *args: Any, patience: float, heart: Heartbeats | None = None
    ) -> Awaitable[Any]:
        """Send the call of a function. QueueUnavailable means that nothing was sent.

        The answer is to be awaited. QueueUnavailable then means that the call may have been made.
        The library is loaded where Redis has forgotten it.

        args: the number of keys, the keys, the arguments. patience: seconds of silence after which
        to give up. heart: beats while the answer is arriving.
        """
        started = time.monotonic()
        command = library.LIBRARY.call(function, *args)
        heart = heart or Heartbeats()
        heart.connection = await self._checked(function, self._connected())
        # Written at once, without a turn of the loop: Redis is at work before its caller is.
        answers = heart.connection.send(command)
        return self._timed(function, _answer(command, answers, heart, patience), started)

    async def call(self, function: Function, *args: Any, patience: float) -> Any:
        """Send the call of a function, and wait for the answer; see `send`."""
        return await (await self.send(function, *args, patience=patience))

    async def _ask_and_wait(
        self, command: Command, behind: Iterable[Command], patience: float
    ) -> list[Any]:
        connection = await self._connected()
        (answer,) = connection.send(command)
        self._behind = connection.send(*behind)
        try:
            replies = [await by(patience, answer, connection)]
            for each in self._behind:
                replies.append(await _or_none(by(PATIENCE, each, connection)))
            return replies
        finally:
            self._behind = None

    async def _connected(self) -> Connection:
        # Closed by the server while nothing was said, or it said what nobody had asked for.
        if self._connection is not None and self._connection.broken:
            await self.close()
        if self._connection is None:
            connection = await open_connection(self._url, self._key)
            try:
                await begin(connection, self._first())
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    async def _timed(self, operation: str, asking: Awaitable[Any], started: float) -> Any:
        reply = await self._checked(operation, asking)
        self._listener(CommandSent(operation, True, time.monotonic() - started))
        return reply

    async def _checked(self, operation: str, asking: Awaitable[_T]) -> _T:
        """What `asking` returns. Where it fails, the connection is dropped."""
        self._calls += 1
        try:
            return await asking
        except Exception as error:
            self._listener(CommandSent(operation, False, None))
            if not self._outlives(error):
                await self.close()
            raise QueueUnavailable(explain(error, self._url)) from error
        except asyncio.CancelledError as error:
            if not self._outlives(error):
                await self.close()
            raise
        finally:
            self._calls -= 1

    def _outlives(self, error: BaseException) -> bool:  # noqa: ARG002 - see shared.py
        """Whether the connection is still of use after this fault."""
        return False

    async def close_if_idle(self) -> None:
        """Drop the connection unless a command is under way: it may be as broken as another is."""
        if not self._calls:
            await self.close()

    async def close(self) -> None:
        """Drop the connection. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class BlockingClient(Client):
    """An idle worker's: it waits, and hears what is published on a channel meanwhile."""

    def __init__(
        self, url: RedisUrl, listener: Listener, *, key: str, channel: str, hear: Hear
    ) -> None:
        super().__init__(url, listener, key=key)
        self._channel = channel
        self._hear = hear

    async def _connected(self) -> Connection:
        connection = await super()._connected()
        if not connection.hear:
            connection.hear = self._hear
            connection.subscribe(self._channel)
        return connection


async def begin(connection: Connection, commands: Iterable[Command]) -> None:
    """Ask what a connection begins with; raises the first refusal."""
    asked = list(commands)
    replies = await connection.ask(asked)
    if any(map(library.is_missing, replies)):
        replies = await load_and_ask(connection, asked)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply


async def load_and_ask(connection: Connection, commands: Iterable[Command]) -> list[Any]:
    """Load the library, and ask at once, before somebody flushes it again; see `Connection.ask`.

    Raises what Redis says where it refuses to load.
    """
    loaded, *replies = await connection.ask([library.LIBRARY.loading, *commands])
    if isinstance(loaded, Exception):
        raise loaded
    await _remove_unused(connection)
    return replies


async def _remove_unused(connection: Connection) -> None:
    """Remove the libraries of earlier versions. A worker that needs one after all loads it again.

    Where that isn't permitted, they stay: they cost some memory, and nothing else.
    """
    (listed,) = await connection.ask([library.libraries()])
    for name in set(library.names_in(listed)) - {library.LIBRARY.name}:
        (idle,) = await connection.ask([library.idle_in(name)])
        if isinstance(idle, int) and idle > _UNUSED_FOR:
            await connection.ask([("FUNCTION", "DELETE", name)])


async def _answer(
    command: Command, answers: list[Answer], heart: Heartbeats, patience: float
) -> Any:
    """The answer to a call that was sent, loading the library where Redis has forgotten it."""
    loads = 0
    while True:
        *before, answer = answers
        try:
            for each in before:
                await by(PATIENCE, each, heart.connection)
            reply = await by(patience, answer, heart.connection, heart.beat)
        except ResponseError as error:
            if not library.is_missing(error) or loads == _MOST_LOADS:
                raise
        else:
            await heart.hear()
            return reply
        # Sent together: whoever flushed the functions may do so again.
        answers = heart.connection.send(library.LIBRARY.loading, command)
        loads += 1


async def _or_none(asking: Awaitable[Any]) -> Any:
    try:
        return await asking
    except ResponseError:
        return None
