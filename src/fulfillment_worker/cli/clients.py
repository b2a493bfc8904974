"""What a command asks Redis with, on behalf of the person who gave it."""

from __future__ import annotations

import asyncio
import getpass
import socket
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click

from fulfillment_worker.admin.event_stream import EventId, EventStream
from fulfillment_worker.admin.inspector import Inspector
from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.admin.producer import Producer
from fulfillment_worker.admin.redis_client import connected
from fulfillment_worker.cli.options import Command, own_option
from fulfillment_worker.cli.terminal import complain, no_such_queue
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.config.values import Text
from fulfillment_worker.core.exchange import QueueUnavailable

_T = TypeVar("_T")

_LONGEST_BY, _LONGEST_WHY = 128, 1000


def ask(question: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine; where the queue can't be asked, the command fails with the reason."""
    try:
        return asyncio.run(question)
    except QueueUnavailable as error:
        raise click.ClickException(str(error)) from None


def is_text(order_id: str) -> bool:
    """Whether it can be an order's id. An argument that isn't UTF-8 can't, nor be asked for."""
    try:
        order_id.encode()
    except UnicodeEncodeError:
        return False
    return True


@asynccontextmanager
async def inspectors(settings: Settings) -> AsyncIterator[list[Inspector]]:
    """One inspector for each queue, in the order of preference. Raises QueueUnavailable."""
    async with connected(settings.redis_url) as client:
        yield _inspectors(client, settings)


def _inspectors(client: Any, settings: Settings) -> list[Inspector]:
    return [
        Inspector(client, queue, settings.redis_url, id_field=settings.id_field)
        for queue in settings.queues
    ]


async def warn_of_unknown(all_queues: Iterable[Inspector]) -> None:
    """Say which of the queues nobody has ever used. Raises QueueUnavailable."""
    for inspector in all_queues:
        if not await inspector.is_known():
            complain(no_such_queue(inspector.queue))


@asynccontextmanager
async def reader_of_events(settings: Settings, after: EventId) -> AsyncIterator[EventStream]:
    """A reader of the events of all queues; says which nobody has ever used.

    Raises QueueUnavailable.
    """
    async with connected(settings.redis_url) as client:
        await warn_of_unknown(_inspectors(client, settings))
        events = EventStream(client, settings.queues, settings.redis_url, after)
        try:
            yield events
        finally:
            await events.close()


@asynccontextmanager
async def producer(settings: Settings) -> AsyncIterator[Producer]:
    """A producer for the first queue. Raises QueueUnavailable."""
    async with connected(settings.redis_url) as client:
        yield Producer(client, settings.queues[0], settings.redis_url)


@asynccontextmanager
async def operators(
    settings: Settings, by: str | None = None, why: str | None = None
) -> AsyncIterator[dict[str, Operator]]:
    """One operator for each queue, in the order of preference. Raises QueueUnavailable.

    by, why: as the audit tells it; by default the user who runs this.
    """
    async with connected(settings.redis_url) as client:
        yield {
            queue: Operator(client, queue, settings.redis_url, by=by or myself(), why=why or "")
            for queue in settings.queues
        }


def audited(command: Command) -> Command:
    """Give a command the options that say who acts, and why."""
    by = own_option("--by", Text(_LONGEST_BY), None, "who does this  [default: user@host]")
    why = own_option("--why", Text(_LONGEST_WHY), None, "the reason, for the audit")
    return by(why(command))


def myself() -> str:
    """Who runs this command, as far as the system knows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user id without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
