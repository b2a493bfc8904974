"""Opens a connection by TCP, TLS or a unix socket, in as few round trips as there are.

Each step has a time-out of its own, since a server may be far away: the connection, the handshake
of TLS, and each answer. All that a login needs is sent at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.queue.connection import PATIENCE, Connection
from fulfillment_worker.queue.login import Login, lacks_hello
from fulfillment_worker.queue.redis_errors import code_of
from fulfillment_worker.queue.tls import TlsError, context, explained

Address = tuple[str, int] | str
"""Host and port, or the path of a unix socket."""

HEAD_START = 0.25
"""Seconds before the next address of a name is tried beside the first: RFC 8305, section 5."""
_HANDSHAKE = 2 * PATIENCE
"""Seconds for TLS, which takes two answers."""
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


async def connect(
    url: RedisUrl, at: Address, login: Login, *asked: tuple[Any, ...]
) -> tuple[Connection, list[Any]]:
    """A connection to the server at this address, logged in, and the replies to what was asked.

    What is refused of `asked` is returned as its error. Raises RedisError, OSError, TimeoutError.
    """
    tls = context(url) if url.scheme.tls else None
    connection = await _connect(at)
    try:
        if tls is not None:
            await _encrypt(connection, tls, _host(at))
        return connection, await _log_in(connection, login, asked)
    except (RedisError, OSError, TimeoutError) as error:
        connection.close()
        better = explained(error, url, _host(at)) or await _wrong_protocol(
            error, connection, url, at
        )
        if better is None:
            raise
        raise better from error
    except BaseException:
        connection.close()
        raise


async def _connect(at: Address) -> Connection:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(PATIENCE):
            if isinstance(at, str):
                _, connection = await loop.create_unix_connection(Connection, at)
                return connection
            _, connection = await loop.create_connection(
                Connection, *at, happy_eyeballs_delay=HEAD_START
            )
    except TimeoutError:
        raise TimeoutError(f"no connection within {PATIENCE:g} s") from None
    _keep_alive(connection.transport.get_extra_info("socket"))
    return connection


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # macOS lacks the first
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _encrypt(connection: Connection, tls: ssl.SSLContext, host: str) -> None:
    loop = asyncio.get_running_loop()
    encrypted = await loop.start_tls(
        connection.transport,
        connection,
        tls,
        server_hostname=host,
        ssl_handshake_timeout=_HANDSHAKE,
        ssl_shutdown_timeout=PATIENCE,
    )
    if encrypted is None:
        raise RedisConnectionError("the server closed the connection")
    connection.connection_made(encrypted)


async def _log_in(
    connection: Connection, login: Login, asked: tuple[tuple[Any, ...], ...]
) -> list[Any]:
    hello = True
    replies = await connection.ask([*login.commands(), *asked])
    if lacks_hello(replies):
        hello = False
        replies = await connection.ask([*login.commands(hello=False), *asked])
    many = len(replies) - len(asked)
    login.check(replies[:many], hello=hello)
    connection.may_push = hello
    return replies[many:]


def _host(at: Address) -> str:
    return at if isinstance(at, str) else at[0]


# --- a port that speaks otherwise -----------------------------------------------------------------


async def _wrong_protocol(
    error: BaseException, connection: Connection, url: RedisUrl, at: Address
) -> TlsError | None:
    """Why nothing was understood, where one side speaks TLS and the other doesn't."""
    # A server that has answered understood.
    answered = code_of(error) or not (connection.broken or isinstance(error, OSError))
    if isinstance(at, str) or answered:
        return None
    if connection.transport.get_extra_info("ssl_object"):
        return TlsError(_hung_up(url)) if connection.broken else None
    if url.scheme.tls:
        return TlsError(_speaks_no_tls(url, at)) if await _answers_plainly(at) else None
    # One that wants TLS hangs up on what is none, so one that is silent is only that.
    if not isinstance(error, TimeoutError) and await _offers_tls(at):
        return TlsError(
            f"the port {at[1]} of {at[0]} speaks TLS: write {url.scheme.with_tls}:// in "
            "FULFILLMENT_REDIS_URL"
        )
    return None


def _hung_up(url: RedisUrl) -> str:
    # Its reason may be lost with the connection.
    own = url.tls_options.get("ssl_certfile")
    why = f"trust the certificate in {own}" if own else "do without a certificate of the client"
    return f"it hung up after TLS had begun, before an answer: it may not {why}"


def _speaks_no_tls(url: RedisUrl, at: tuple[str, int]) -> str:
    plain = str(url.scheme).replace("rediss", "redis", 1)
    return (
        f"the port {at[1]} of {at[0]} speaks no TLS: give the port that does, or write {plain}:// "
        "in FULFILLMENT_REDIS_URL"
    )


async def _answers_plainly(at: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(*at, happy_eyeballs_delay=HEAD_START)
            try:
                writer.write(b"PING\r\n")
                return await reader.read(1) in (b"+", b"-")
            finally:
                writer.transport.abort()
    return False


async def _offers_tls(at: tuple[str, int]) -> bool:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(_HANDSHAKE):
            _, writer = await asyncio.open_connection(
                *at, ssl=trusting, happy_eyeballs_delay=HEAD_START
            )
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True
