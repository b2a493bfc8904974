"""Finding the server that has a queue: by its address, by sentinels, or by a cluster's nodes.

All sentinels, or all nodes, are asked at once: one that is silent must not hold up the others. What
one of them names counts only if the server that is named says so itself, since while servers change
their roles, some still name the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from redis.crc import key_slot
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.text import text_of
from fulfillment_worker.queue.connect import connect
from fulfillment_worker.queue.connection import Connection
from fulfillment_worker.queue.login import login_of, refused_by_sentinel, sentinel_login
from fulfillment_worker.queue.redis_errors import NoLogin, ServerTooOld, words_of
from fulfillment_worker.queue.tls import TlsError

_TELLING = (AuthenticationError, ResponseError, TlsError, NoLogin, ServerTooOld)
"""What is said first where all fail in different ways: it won't mend itself."""

_MOST_HOPS = 4
"""Nodes asked in turn where each names another: more would only mean that they disagree."""

Found = tuple[Connection, tuple[str, int]]
"""A connection to a server, and where that is."""

FAULTS = (RedisError, OSError, TimeoutError)
"""What is raised where there is no such server."""


async def open_connection(url: RedisUrl, key: str) -> Connection:
    """A connection to the server that has this key, logged in. Raises FAULTS."""
    if url.scheme.sentinel:
        return (await find_primary(url))[0]
    if url.scheme.cluster:
        slot = key_slot(key.encode())
        return (await _first((_follow(url, node, slot) for node in url.hosts), "node"))[0]
    at = url.hosts[0] if url.hosts else url.path
    return (await connect(url, at, login_of(url)))[0]


async def find_primary(url: RedisUrl) -> Found:
    """A connection to the server that sentinels name, and where it is. Raises FAULTS."""
    asked = (_named_by(url, sentinel) for sentinel in url.hosts)
    return await _first(asked, "sentinel knows a primary that")


async def _first(ways: Iterable[Coroutine[Any, Any, Found]], who: str) -> Found:
    """What the first of them finds; the others are left."""
    tasks = [asyncio.create_task(way) for way in ways]
    errors: list[BaseException] = []
    found: Found | None = None
    try:
        for task in asyncio.as_completed(tasks):
            try:
                found = await task
                return found
            except FAULTS as error:
                errors.append(error)
    finally:
        _leave(tasks, found)
    telling = next((each for each in errors if isinstance(each, _TELLING)), None)
    if telling:
        raise telling
    raise RedisConnectionError(f"no {who} answers: {words_of(errors[-1])}") from errors[-1]


def _leave(tasks: list[asyncio.Task[Found]], found: Found | None) -> None:
    """Close what is found beside the first.

    Those still under way end by their own time-outs. They are not cancelled: asyncio would drop a
    connection that it has just made, without closing it.
    """

    def ended(task: asyncio.Task[Found]) -> None:
        _left.discard(task)
        if not (task.cancelled() or task.exception()) and task.result() is not found:
            task.result()[0].close()

    for task in tasks:
        _left.add(task)
        task.add_done_callback(ended)


_left: set[asyncio.Task[Found]] = set()
"""The loop itself does not keep its tasks from being collected."""


async def _named_by(url: RedisUrl, sentinel: tuple[str, int]) -> Found:
    question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.service)
    try:
        connection, (named,) = await connect(url, sentinel, sentinel_login(url), question)
    except RedisError as error:
        raise refused_by_sentinel(error) from error
    connection.close()
    if isinstance(named, Exception):
        raise refused_by_sentinel(named)
    if named is None:
        where = f"{sentinel[0]}:{sentinel[1]}"
        raise RedisError(f"the sentinel at {where} knows no service {url.service!r}")
    at = text_of(named[0]), int(named[1])
    connection, (told,) = await connect(url, at, login_of(url), ("INFO", "replication"))
    # Who may not ask, learns it from the first write.
    if not isinstance(told, Exception) and "role:slave" in text_of(told):
        connection.close()
        raise RedisError(f"{at[0]}:{at[1]} is a replica")
    return connection, at


async def _follow(url: RedisUrl, node: tuple[str, int], slot: int) -> Found:
    """From node to node, until one says that it has the slot itself."""
    at = node
    for _ in range(_MOST_HOPS):
        connection, (slots,) = await connect(url, at, login_of(url), ("CLUSTER", "SLOTS"))
        try:
            owner = _owner(slots, slot, at[0])
        except RedisError:
            connection.close()
            raise
        if owner == at:
            return connection, at
        connection.close()
        at = owner
    raise ClusterDownError("its nodes do not agree on who has the queue")


def _owner(slots: Any, slot: int, host: str) -> tuple[str, int]:
    """Where the slot's primary is. host: of the node that says so, which may leave it out."""
    if isinstance(slots, Exception):
        raise slots
    for first, last, primary, *_ in slots:
        if first <= slot <= last:
            return text_of(primary[0] or b"") or host, int(primary[1])
    raise ClusterDownError(f"no node has the slot {slot}", status_code="CLUSTERDOWN")
