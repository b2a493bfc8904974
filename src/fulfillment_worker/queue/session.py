"""A client for short questions, by programs that hold no orders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from fulfillment_worker.config.redis_url import RedisUrl, Scheme
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.queue import library
from fulfillment_worker.queue.connection import connect, open_client
from fulfillment_worker.queue.embedded import EmbeddedRedis, EmbeddedRedisError
from fulfillment_worker.queue.errors import code_of, explain
from fulfillment_worker.queue.library import Function
from fulfillment_worker.queue.locate import open_wire

PATIENCE = 10.0
"""Seconds to wait for an answer: a person would rather be told than wait for longer."""
_PATIENCE_TO_CONNECT = 20.0
"""Seconds for the several answers that it takes to find a server and to log in."""

_FAULTS = (RedisError, RedisClusterException, OSError, TimeoutError)


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


@asynccontextmanager
async def connected(url: RedisUrl) -> AsyncIterator[Redis]:
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


async def telling(error: BaseException, address: RedisUrl) -> BaseException:
    """Why a client could not connect, in the words of a worker, which knows more about it."""
    if code_of(error):
        return error
    try:
        (await open_wire(address, "")).close()
    except _FAULTS as better:
        return better
    return error


@asynccontextmanager
async def reachable(url: RedisUrl) -> AsyncIterator[RedisUrl]:
    """Where to find the server at `url`; an embedded one runs for as long.

    Raises QueueUnavailable where that one can't be started.
    """
    if url.scheme is not Scheme.EMBEDDED:
        yield url
        return
    server = EmbeddedRedis(url.path)
    try:
        socket = await server.start()
    except EmbeddedRedisError as error:
        raise QueueUnavailable(str(error)) from error
    try:
        yield RedisUrl(Scheme.UNIX, path=socket)
    finally:
        await server.stop()
