"""One connection to a server: commands out, replies in. connect.py opens it.

redis-py leads each reply through several coroutines. Here the loop passes the bytes to hiredis, and
the answer's future is set at once. The classes of errors are redis-py's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import hiredis
from redis._parsers import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError

Answer = asyncio.Future[Any]
"""Raises what Redis says, or why the connection broke before it could."""

PATIENCE = 2.0
"""Seconds of silence after which an answer is given up, and the connection with it. Claiming must
resume within 2 s of Redis's return, and no function of ours takes longer than this. A
large answer over a slow line may take longer: patience lasts while bytes of it arrive."""
_GRACE = 0.1
"""Seconds for the loop to read a reply, if a handler kept it from that until patience ended."""

Hear = Callable[[list[Any] | None], None]

_NOTHING_YET = object()


class Connection(asyncio.Protocol):
    """A connection. One that broke is of no use any more.

    It breaks when the connection ends, and when something comes that nobody waits for: a reply must
    never be taken for that to another command.
    """

    def __init__(self) -> None:
        self.broken: Exception | None = None
        # When something came last: the loop's time.
        self.heard_at = float("-inf")
        # Whether the server may say something by itself between two answers (RESP3).
        self.may_push = False
        # Called with what the server says by itself, and with None when the connection has ended.
        self.hear: Hear | None = None
        self.transport: asyncio.Transport
        self._waiting: deque[Answer] = deque()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=BaseParser.parse_error,
            notEnoughData=_NOTHING_YET,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, *commands: tuple[Any, ...]) -> list[Answer]:
        """Write the commands, at once; returns what will be the answers."""
        loop = asyncio.get_running_loop()
        answers = [loop.create_future() for _ in commands]
        self._waiting.extend(answers)
        if self.broken:
            self._break(self.broken)
        else:
            self.transport.writelines([hiredis.pack_command(each) for each in commands])
        return answers

    def subscribe(self, *channels: str) -> None:
        """Hear what is published on these, where the server can tell it, and permits it."""
        if self.may_push:
            self.send(*(("SUBSCRIBE", channel) for channel in channels))

    async def ask(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Send all, and return the answers; what was refused is returned as its error.

        Raises TimeoutError where one takes longer than patience after the one before. Where the
        connection broke, it raises why. Where the last reply was a refusal, that is why: a server
        that takes nobody (protected mode, too many clients) says so once, and hangs up.
        """
        replies: list[Any] = []
        for answer in self.send(*commands):
            try:
                replies.append(await by(PATIENCE, answer, self))
            except (RedisError, OSError) as error:
                if self.broken and replies and isinstance(replies[-1], Exception):
                    raise replies[-1] from error
                if self.broken or not isinstance(error, RedisError):
                    raise
                replies.append(error)
        return replies

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self.heard_at = asyncio.get_running_loop().time()
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _NOTHING_YET:
                self._take(reply)
        except RedisError as error:
            self._break(error)
            self.transport.abort()

    def close(self) -> None:
        """Throw the connection away, without waiting for anybody."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._break(exc or RedisConnectionError("the server closed the connection"))

    def _take(self, reply: Any) -> None:
        # The answer to a subscription is a push message, too.
        if isinstance(reply, hiredis.PushNotification) and reply[0] != b"subscribe":
            if self.hear:
                self.hear(reply)
            return
        if not self._waiting:
            if isinstance(reply, Exception):  # A server that takes nobody need not be asked.
                raise reply
            raise RedisConnectionError("it said what nobody had asked for")
        answer = self._waiting.popleft()
        if answer.done():  # given up
            return
        if isinstance(reply, Exception):
            _fail(answer, reply)
        else:
            answer.set_result(reply)

    def _break(self, why: Exception) -> None:
        if self.broken is None and self.hear:
            self.hear(None)
        self.broken = self.broken or why
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                _fail(answer, self.broken)


def _fail(answer: Answer, error: Exception) -> None:
    answer.set_exception(error)
    # Counts as seen: of several answers, only the first may be waited for then.
    answer.exception()


async def by(
    patience: float,
    answer: Answer,
    connection: Connection,
    arriving: Callable[[], None] | None = None,
) -> Any:
    """The answer; TimeoutError if it isn't there after so many seconds, and is not coming.

    arriving: called about every 2 s for as long as bytes of it arrive after that.
    """
    if not answer.done():
        loop = asyncio.get_running_loop()
        asked = answer, connection, patience, loop.time(), arriving
        timer = loop.call_later(patience, _lose_patience, *asked)
        try:
            return await answer
        finally:
            timer.cancel()
    return answer.result()


def _lose_patience(answer: Answer, *asked: Any) -> None:
    # By then the loop has read what is there.
    asyncio.get_running_loop().call_later(_GRACE, _give_up, answer, *asked)


def _give_up(
    answer: Answer,
    connection: Connection,
    patience: float,
    since: float,
    arriving: Callable[[], None] | None,
) -> None:
    if answer.done():
        return
    loop = asyncio.get_running_loop()
    left = connection.heard_at + PATIENCE - loop.time()
    if connection.heard_at > since and left > 0:
        if arriving:
            arriving()
        loop.call_later(left, _lose_patience, answer, connection, patience, since, arriving)
    else:
        answer.set_exception(TimeoutError(f"no answer within {patience:g} s"))
