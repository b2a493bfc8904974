"""Where a Redis URL leads: an embedded server runs for as long as it is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fulfillment_worker.config.redis_url import RedisUrl, Scheme
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.embedded.valkey import EmbeddedRedis, EmbeddedRedisError


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
