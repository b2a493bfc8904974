"""Opening a client for any Redis URL, and saying in one line what is wrong when it fails."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import redis.asyncio as aioredis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from fulfillment_worker.config.redis_url import RedisUrl, Scheme

OLDEST = (7, 0)
"""The first Redis with BLMOVE, and with RPOP of many. Valkey reports 7.2 or later here."""

_CONNECT_TIMEOUT = 2.0
_FIND_TIMEOUT = 1.5
"""Seconds for a sentinel and the primary that it names; less than a caller waits for the whole."""


class ServerTooOld(RedisError):
    """The server's version, as it tells it."""


def open_client(url: RedisUrl) -> Any:
    """A client for `url` that sends each command once: only the caller knows what may be resent.

    It connects at its first command. Close it with `aclose()`.
    """
    common: dict[str, Any] = {
        "username": url.username,
        "password": url.password,
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        "socket_timeout": None,
        "socket_keepalive": True,
        "client_name": "fulfillment-worker",
    }
    once: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "retry_on_error": []}
    match url.scheme:
        case Scheme.UNIX:
            return aioredis.Redis(unix_socket_path=url.path, db=url.db, **common, **once)
        case Scheme.SENTINEL:
            pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
                url.service, _Sentinels(url, common | once), db=url.db, **common, **once
            )
            return aioredis.Redis.from_pool(pool)
        case Scheme.CLUSTER:
            nodes = [ClusterNode(host, port) for host, port in url.hosts]
            return RedisCluster(startup_nodes=nodes, retry=Retry(NoBackoff(), 0), **common)
        case Scheme.EMBEDDED:
            raise ValueError("start the embedded server first, and connect to its socket")
        case _:
            ((host, port),) = url.hosts
            tls = {"ssl": True, **_tls_options(url)} if url.scheme is Scheme.TLS else {}
            return aioredis.Redis(host=host, port=port, db=url.db, **common, **once, **tls)


def _tls_options(url: RedisUrl) -> dict[str, Any]:
    return {
        name: value == "true" if value in ("true", "false") else value
        for name, value in url.options
    }


class _Sentinels:
    """Finds the primary: the server that a sentinel names, and that says so itself.

    All sentinels are asked at once. One that is silent must not hold up the others, and while
    servers change their roles some sentinels still name the old primary.
    """

    def __init__(self, url: RedisUrl, how: dict[str, Any]) -> None:
        """how: options of the client for the primary; sentinels have a login of their own."""
        self._hosts = url.hosts
        self._how = how
        login = {name.removeprefix("sentinel_"): value for name, value in url.options}
        self._ask = how | {"username": None, "password": None, "decode_responses": True} | login

    async def discover_master(self, service: str) -> tuple[str, int]:
        """Where the primary is; the client's pool calls this before it connects."""
        asked = [asyncio.create_task(self._named_by(host, service)) for host in self._hosts]
        errors: list[Exception] = []
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    return await answer
                except (RedisError, OSError, TimeoutError) as error:
                    errors.append(error)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        refusal = next((each for each in errors if isinstance(each, AuthenticationError)), None)
        why = _tidy(errors[-1])
        raise refusal or RedisConnectionError(f"no sentinel knows a primary that answers: {why}")

    async def _named_by(self, sentinel: tuple[str, int], service: str) -> tuple[str, int]:
        async with asyncio.timeout(_FIND_TIMEOUT):
            host, port = sentinel
            async with aioredis.Redis(host=host, port=port, **self._ask) as client:
                named: Any = await client.sentinel_get_master_addr_by_name(service)
            if named is None:
                raise RedisError(f"the sentinel at {host}:{port} knows no service {service!r}")
            primary = str(named[0]), int(named[1])
            await self._require_primary(*primary)
            return primary

    async def _require_primary(self, host: str, port: int) -> None:
        async with aioredis.Redis(host=host, port=port, **self._how) as client:
            try:
                told = await client.info("replication")
            except NoPermissionError:
                return  # Then the first script tells.
        if told["role"] != "master":
            raise RedisError(f"{host}:{port} is a replica")


async def check_version(client: Any) -> None:
    """Raise ServerTooOld where the server lacks a command that we need."""
    try:
        info = await client.info("server")
    except NoPermissionError:
        return  # Then the first script tells.
    # A cluster's client may answer for each node.
    version = str(info.get("redis_version") or next(iter(info.values()))["redis_version"])
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise ServerTooOld(version)


def explain(error: BaseException, url: RedisUrl) -> str:
    """What happened and what to do, in one line without secrets."""
    error = _cause(error)
    says = next(says for kind, says in _EXPLANATIONS if isinstance(error, kind))
    return f"Redis at {url.redacted} {says.format(_tidy(error))}"


def _cause(error: BaseException) -> BaseException:
    """What the server said, which others wrap into errors of their own.

    A cluster's client does, and so does Redis 6.2 with what ends a script.
    """
    inner = error.__cause__ or error.__context__
    if isinstance(error, RedisClusterException) and inner:
        return _cause(inner)
    found = _CODE.search(str(error)) if type(error) is ResponseError else None
    return _CODES[found[1]](str(error)) if found else error


class WrongTypeError(ResponseError):
    """A key holds another type of value than the command is for."""


_CODES: dict[str, type[RedisError]] = {
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "WRONGTYPE": WrongTypeError,
}
_CODE = re.compile(rf"(?:^|[-'\" ])({'|'.join(_CODES)}) ")


# The first that fits: the special ones stand before the kinds that they belong to.
_EXPLANATIONS: tuple[tuple[type[BaseException], str], ...] = (
    (
        ServerTooOld,
        "is version {}: Redis 7.0 or later, or Valkey 7.2 or later, is needed; upgrade the server",
    ),
    (
        AuthenticationError,
        "refused the user name or the password: correct them in FULFILLMENT_REDIS_URL",
    ),
    (NoPermissionError, "does not permit this user a command: {}"),
    (BusyLoadingError, "is loading its data; it will answer when that is done"),
    (ReadOnlyError, "is a read-only replica: point FULFILLMENT_REDIS_URL at the primary"),
    (OutOfMemoryError, "is out of memory: raise its maxmemory, or free some"),
    (MovedError, "is a node of a cluster: write redis+cluster:// in FULFILLMENT_REDIS_URL"),
    (
        WrongTypeError,
        "has something foreign under a key of the queue: `fulfillment-worker doctor` names it",
    ),
    (ResponseError, "refused: {}"),
    (TimeoutError, "does not answer: {}"),
    (BaseException, "can't be reached: {}"),
)


def _tidy(error: BaseException) -> str:
    """The error's own words: one line, bounded, printable."""
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(c for c in text[:300] if c.isprintable())
