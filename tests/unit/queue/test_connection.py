"""A connection to a server that takes nobody: it says why, and hangs up."""

from __future__ import annotations

import asyncio
import socket

import pytest

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.queue.connection import Connection
from fulfillment_worker.queue.discovery import FAULTS, open_connection
from fulfillment_worker.queue.redis_errors import explain
from tests.support.refusing import DENIED, FULL, End, close, refusing, reset


@pytest.mark.parametrize("end", [reset, close])
@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel", "redis+cluster"])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (DENIED, "is in protected mode, and takes nobody from another host: give it a password"),
        (FULL, "takes no more connections: raise its maxclients"),
    ],
)
async def test_refusal_of_a_server_that_hangs_up_is_named(
    words: bytes, says: str, scheme: str, end: End
) -> None:
    """Each time, though the end of the connection may be seen in different ways."""
    service = "/shop" if scheme == "redis+sentinel" else ""
    with refusing(words, end) as server:
        url = RedisUrl.parse(f"{scheme}://127.0.0.1:{server.port}{service}")
        for _ in range(5):
            with pytest.raises(FAULTS) as failed:
                await open_connection(url, "orders")
            assert says in explain(failed.value, url)


@pytest.mark.parametrize("end", [reset, close])
async def test_end_of_a_connection_without_a_word_is_said_as_it_is(end: End) -> None:
    with refusing(b"", end) as server:
        url = RedisUrl.parse(f"redis://127.0.0.1:{server.port}")
        with pytest.raises(FAULTS) as failed:
            await open_connection(url, "orders")
    assert "can't be reached: " in explain(failed.value, url)


async def broken_connection(sock: socket.socket) -> Connection:
    """A connection over this socket, once it has broken."""
    connection, ended = Connection(), asyncio.Event()
    connection.hear = lambda _: ended.set()
    await asyncio.get_running_loop().create_connection(lambda: connection, sock=sock)
    await ended.wait()
    return connection


async def test_refusal_before_the_first_command_is_named() -> None:
    """The server need not wait for one."""
    url = RedisUrl.parse("redis://127.0.0.1:6379")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(DENIED)
        connection = await broken_connection(ours)
        with pytest.raises(FAULTS) as failed:
            await connection.ask([("HELLO", 3)])
    assert "is in protected mode" in explain(failed.value, url)


async def test_reply_that_nobody_asked_for_breaks_the_connection() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"+OK\r\n")
        connection = await broken_connection(ours)
    assert "nobody had asked for" in str(connection.broken)
