"""A client of redis-py for any Redis URL, for programs that hold no orders.

redis-py finds the node of a cluster and pools connections; how one is opened is ours, so that each
kind of address has its login, its TLS and its time-outs in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import redis.asyncio as aioredis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection, ConnectionPool, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from fulfillment_worker.config.redis_url import RedisUrl, Scheme
from fulfillment_worker.queue.dial import HEAD_START
from fulfillment_worker.queue.locate import find_primary
from fulfillment_worker.queue.login import login_of
from fulfillment_worker.queue.tls import context, explained

_CONNECT_TIMEOUT = 4.0
"""Seconds for a connection, and for its login: a person would rather wait than be told too soon."""


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
        wire, (self.host, self.port) = await find_primary(self._url)
        wire.close()
        await super()._connect()


class _Unix(_Ours, UnixDomainSocketConnection):
    """By a unix socket."""

    def __init__(self, *, url: RedisUrl, **kwargs: Any) -> None:
        self._url = url
        super().__init__(**kwargs)


async def connect(client: Any) -> None:
    """Have a client connect, which it would do at its first command."""
    if isinstance(client, RedisCluster):
        await client.initialize()
    else:
        pool = client.connection_pool
        await pool.release(await pool.get_connection())
