"""Opening a client for any Redis URL, and saying in one line what is wrong when it fails."""

from __future__ import annotations

import re
from typing import Any

import redis.asyncio as aioredis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from fulfillment_worker.config.redis_url import RedisUrl, Scheme

OLDEST = (6, 2)
"""The first Redis with BLMOVE, and with RPOP of many. Valkey reports 7.2 or later here."""

_CONNECT_TIMEOUT = 2.0


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
            sentinel = Sentinel(  # type: ignore[no-untyped-call]
                list(url.hosts), sentinel_kwargs={"socket_connect_timeout": _CONNECT_TIMEOUT}
            )
            return sentinel.master_for(url.service, db=url.db, **common, **once)
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
    says = next(says for kind, says in _EXPLANATIONS if isinstance(error, kind))
    return f"Redis at {url.redacted} {says.format(_tidy(error))}"


# The first that fits: the special ones stand before the kinds that they belong to.
_EXPLANATIONS: tuple[tuple[type[BaseException], str], ...] = (
    (ServerTooOld, "is version {}: 6.2 or later is needed; upgrade the server"),
    (
        AuthenticationError,
        "refused the user name or the password: correct them in FULFILLMENT_REDIS_URL",
    ),
    (NoPermissionError, "does not permit this user a command: {}"),
    (BusyLoadingError, "is loading its data; it will answer when that is done"),
    (ReadOnlyError, "is a read-only replica: point FULFILLMENT_REDIS_URL at the primary"),
    (OutOfMemoryError, "is out of memory: raise its maxmemory, or free some"),
    (ResponseError, "refused: {}"),
    (TimeoutError, "does not answer: {}"),
    (BaseException, "can't be reached: {}"),
)


def _tidy(error: BaseException) -> str:
    """The error's own words: one line, bounded, printable."""
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(c for c in text[:300] if c.isprintable())
