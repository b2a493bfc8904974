"""The wire of a connection that redis-py has opened: commands out, replies in.

To connect (TLS, a login, a unix socket, Sentinel) and to tell errors apart is redis-py's. Its way
to read is made for callers of many kinds, and leads a reply through many coroutines; here the loop
hands what came to hiredis, and who waits for the reply goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

Answer = asyncio.Future[Any]
"""Raises what Redis says, or why the wire broke before it could."""

_NOTHING_YET = object()


class Wire(asyncio.Protocol):
    """Takes over a connection after its login. One that broke is of no use any more.

    It breaks when the connection ends, and when something comes that nobody waits for: a reply must
    never be taken for that to another command.
    """

    def __init__(self, connection: Any) -> None:
        """connection: one of redis.asyncio's, connected, on which nothing is under way."""
        self.broken: Exception | None = None
        # When something came last: the loop's time.
        self.heard_at = float("-inf")
        self._pack = connection.pack_command
        self._waiting: deque[Answer] = deque()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=connection._parser.parse_error,
            notEnoughData=_NOTHING_YET,
        )
        self._transport: asyncio.Transport = connection._writer.transport
        self._before: Any = self._transport.get_protocol()
        self._transport.set_protocol(self)

    def send(self, *commands: tuple[Any, ...]) -> list[Answer]:
        """Write the commands, at once; returns what will be the answers."""
        loop = asyncio.get_running_loop()
        answers = [loop.create_future() for _ in commands]
        self._waiting.extend(answers)
        if self.broken:
            self._break(self.broken)
        else:
            self._transport.writelines([part for each in commands for part in self._pack(*each)])
        return answers

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self.heard_at = asyncio.get_running_loop().time()
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _NOTHING_YET:
                self._take(reply)
        except (InvalidResponse, RedisConnectionError) as error:
            self._break(error)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._break(exc or RedisConnectionError("the server closed the connection"))
        # redis-py waits for it when it closes the connection.
        self._before.connection_lost(exc)

    def _take(self, reply: Any) -> None:
        if isinstance(reply, hiredis.PushNotification):
            return
        if not self._waiting:
            raise RedisConnectionError("it said what nobody had asked for")
        answer = self._waiting.popleft()
        if answer.done():  # given up
            return
        if isinstance(reply, Exception):
            _fail(answer, reply)
        else:
            answer.set_result(reply)

    def _break(self, why: Exception) -> None:
        self.broken = self.broken or why
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                _fail(answer, self.broken)


def _fail(answer: Answer, error: Exception) -> None:
    answer.set_exception(error)
    # Counts as seen: of several answers, only the first may be waited for then.
    answer.exception()
