"""The Redis client of operators' tools: a redis-py client for any Redis URL.

It is for programs that hold no orders. redis-py finds the node of a cluster and pools connections.
How a connection is opened is ours, so that each kind of address has its login, its TLS and its
time-outs in the same way as a worker's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as aioredis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection, ConnectionPool, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from fulfillment_worker.config.redis_url import RedisUrl, Scheme
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.embedded.reachable import reachable
from fulfillment_worker.queue import library
from fulfillment_worker.queue.connect import HEAD_START
from fulfillment_worker.queue.discovery import find_primary, open_connection
from fulfillment_worker.queue.library import Function
from fulfillment_worker.queue.login import login_of
from fulfillment_worker.queue.redis_errors import code_of, explain
from fulfillment_worker.queue.tls import context, explained

_CONNECT_TIMEOUT = 4.0
"""Seconds for a connection, and for its login: a person would rather wait than be told too soon."""
PATIENCE = 10.0
"""Seconds to wait for an answer: a person would rather be told than wait for longer."""
_PATIENCE_TO_CONNECT = 20.0
"""Seconds for the several answers that it takes to find a server and to log in."""

_FAULTS = (RedisError, RedisClusterException, OSError, TimeoutError)


@asynccontextmanager
async def connected(url: RedisUrl) -> AsyncIterator[aioredis.Redis]:
    """A client of the server at `url`, which runs for as long if it is an embedded one.

    Raises QueueUnavailable where the server can't be reached, or is none that we can work with.
    """
    async with reachable(url) as address:
        client = open_client(address)
        try:
            try:
                async with asyncio.timeout(_PATIENCE_TO_CONNECT):
                    await connect(client)
            except _FAULTS as error:
                raise QueueUnavailable(explain(await telling(error, address), url)) from error
            yield client
        finally:
            await client.aclose()


async def connect(client: Any) -> None:
    """Have a client connect, which it would do at its first command."""
    if isinstance(client, RedisCluster):
        await client.initialize()
    else:
        pool = client.connection_pool
        await pool.release(await pool.get_connection())


async def telling(error: BaseException, address: RedisUrl) -> BaseException:
    """Why a client could not connect, in the words of a worker, which knows more about it."""
    if code_of(error):
        return error
    try:
        (await open_connection(address, "")).close()
    except _FAULTS as better:
        return better
    return error


@asynccontextmanager
async def answered(url: RedisUrl) -> AsyncIterator[None]:
    """Turn an error of the client, or its silence, into QueueUnavailable, with a line for people.

    Put nothing but a question to Redis inside.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except _FAULTS as error:
        raise QueueUnavailable(explain(error, url)) from error


async def call(client: Any, url: RedisUrl, function: Function, *args: Any) -> Any:
    """Call a function of the library, loading it where Redis doesn't have it.

    args: the number of keys, the keys, the arguments. Raises QueueUnavailable.
    """
    command = library.LIBRARY.call(function, *args)
    async with answered(url):
        try:
            return await client.execute_command(*command)
        except ResponseError as error:
            if not library.is_missing(error):
                raise
        # On a cluster, redis-py loads it on each primary.
        await client.execute_command("FUNCTION LOAD", "REPLACE", library.LIBRARY.text)
        return await client.execute_command(*command)


# --- opening one ----------------------------------------------------------------------------------


def open_client(url: RedisUrl) -> Any:
    """A client for `url` that sends each command once: only the caller knows what may be resent.

    It connects at its first command. Close it with `aclose()`.
    """
    common: dict[str, Any] = {
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        "socket_timeout": None,
    }
    if url.scheme.cluster:
        return _cluster(url, common)
    if url.scheme is Scheme.EMBEDDED:
        raise ValueError("start the embedded server first, and connect to its socket")
    once: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "retry_on_error": []}
    kind: type[Any] = _Tcp
    where: dict[str, Any] = {}
    if url.scheme is Scheme.UNIX:
        kind, where = _Unix, {"path": url.path}
    elif url.scheme.sentinel:
        kind = _Watched
    else:
        ((host, port),) = url.hosts
        where = {"host": host, "port": port}
    pool = ConnectionPool(connection_class=kind, url=url, **where, **common, **once)
    return aioredis.Redis.from_pool(pool)


def _cluster(url: RedisUrl, common: dict[str, Any]) -> Any:
    nodes = [ClusterNode(host, port) for host, port in url.hosts]
    client = RedisCluster(startup_nodes=nodes, retry=Retry(NoBackoff(), 0), **common)
    # There is no parameter for it. The first are for the nodes that it learns of.
    client.connection_kwargs |= {"connection_class": _Tcp, "url": url}
    for node in client.startup_nodes:
        node.connection_class = _Tcp
        node.connection_kwargs["url"] = url
    return client


class _Ours:
    """How a connection begins: all that a login needs is said at once. url: whose login it is."""

    _url: RedisUrl

    async def on_connect(self: Any) -> None:
        """Nothing: the connection to a unix socket would do it twice."""

    async def on_connect_check_health(self: Any, check_health: bool = True) -> None:  # noqa: ARG002
        """See AbstractConnection."""
        self._parser.on_connect(self)
        login = login_of(self._url)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                replies = await self._say(login.commands())
        except TimeoutError:
            # The one that makes redis-py throw the connection away.
            raise RedisTimeoutError(f"no answer within {_CONNECT_TIMEOUT:g} s") from None
        login.check(replies)

    async def _say(self: Any, commands: list[tuple[Any, ...]]) -> list[Any]:
        packed = [part for command in commands for part in self.pack_command(*command)]
        await self.send_packed_command(packed, check_health=False)
        return [await self._reply() for _ in commands]

    async def _reply(self: Any) -> Any:
        try:
            return await self.read_response(disconnect_on_error=False)
        except RedisError as error:
            if not self.is_connected or self._reader.at_eof():
                raise
            return error


class _Tcp(_Ours, Connection):
    """By TCP, or TLS where the address wants it."""

    def __init__(self, *, url: RedisUrl, **kwargs: Any) -> None:
        self._url = url
        super().__init__(**kwargs)

    def _connection_arguments(self) -> Mapping[str, Any]:
        where = {"host": self.host, "port": self.port, "happy_eyeballs_delay": HEAD_START}
        return where | ({"ssl": context(self._url)} if self._url.scheme.tls else {})

    async def _connect(self) -> None:
        try:
            await super()._connect()  # type: ignore[no-untyped-call]
        except OSError as error:
            raise explained(error, self._url, self.host) or error from error


class _Watched(_Tcp):
    """To the primary that sentinels name."""

    async def _connect(self) -> None:
        connection, (self.host, self.port) = await find_primary(self._url)
        connection.close()
        await super()._connect()


class _Unix(_Ours, UnixDomainSocketConnection):
    """By a unix socket."""

    def __init__(self, *, url: RedisUrl, **kwargs: Any) -> None:
        self._url = url
        super().__init__(**kwargs)
