"""`fulfillment-worker events`."""

from __future__ import annotations

import asyncio
import json
import re
import select
import sys
import time
from contextlib import suppress
from datetime import datetime

import click

from fulfillment_worker.admin.event_stream import (
    EventId,
    EventStream,
    StatusChange,
    is_refusal,
    read_id,
)
from fulfillment_worker.cli.clients import ask, reader_of_events
from fulfillment_worker.cli.options import own_option, settings_options
from fulfillment_worker.cli.terminal import complain
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.config.values import Duration
from fulfillment_worker.core.exchange import QueueUnavailable

_RETRY_AFTER = 1.0
_MOST = 2**64 - 1


class After:
    """Where to begin: after an event, or at a time."""

    allowed = (
        "the id of an event (1767225600000-0), a time as RFC 3339 (2026-01-01T00:00:00Z), "
        "or how long ago (250ms, 10s, 5m, 2h, 7d)"
    )
    _ago = Duration("0", "36500d")

    def __call__(self, text: str) -> EventId:
        if re.fullmatch(r"[0-9]{1,20}-[0-9]{1,20}", text):
            event = read_id(text)
            if max(event) <= _MOST and event < (_MOST, _MOST):
                return event
        elif text[-1:] in ("s", "m", "h", "d"):
            with suppress(ValueError):
                return _before(time.time() - self._ago(text))
        else:
            with suppress(ValueError, OverflowError):
                at = datetime.fromisoformat(text)
                if at.tzinfo is not None:
                    return _before(at.timestamp())
        raise ValueError(f"give {self.allowed}")


def _before(seconds: float) -> EventId:
    """The last id before a time."""
    return EventId(max(1, round(seconds * 1000)) - 1, _MOST)


@click.command()
@own_option(
    "--after", After(), None, "only what came after this: an event's id, a time, or 5m for 5m ago"
)
@click.option("--follow", is_flag=True, help="go on with what comes, until Ctrl-C")
@click.option("--json", "_as_json", is_flag=True, help="changes nothing: it always is JSON")
@settings_options("redis_url", "queues")
def events(settings: Settings, after: EventId | None, follow: bool, _as_json: bool) -> int:
    """Print the changes of status, one JSON object a line, the oldest first.

    Each has `id` (of the event), `queue`, `order_id`, `status`, `attempt` and `at` (Unix ms); one
    that is dead has its `reason`, and one that is fulfilled its `note`, if its handler returned
    one. They are kept for as long as the workers' --events-ttl says.

    \b
    Examples:
      fulfillment-worker events
      fulfillment-worker events --after 5m
      fulfillment-worker events --follow --queue express,orders
      fulfillment-worker events --after 1767225600000-0 --follow
    """
    with suppress(KeyboardInterrupt):  # It is how one stops following.
        ask(_print(settings, after, follow))
    return 0


async def _print(settings: Settings, after: EventId | None, follow: bool) -> None:
    async with reader_of_events(settings, after or EventId(0, 0)) as events:
        await _print_all(events)
        if follow:
            await _follow(events)


async def _follow(events: EventStream) -> None:
    said = ""
    while not _reader_is_gone():
        try:
            if await events.wait():
                await _print_all(events)
            said = ""
        except QueueUnavailable as error:
            if is_refusal(error):
                raise
            if str(error) != said:
                said = str(error)
                complain(f"{said}; it goes on where it was once Redis answers")
            await asyncio.sleep(_RETRY_AFTER)


async def _print_all(events: EventStream) -> None:
    async for batch in events.read():
        click.echo("\n".join(map(_line, batch)))


def _line(change: StatusChange) -> str:
    # In ASCII, so that nothing in it can steer a terminal.
    return json.dumps(change.told())


def _reader_is_gone() -> bool:
    """Whether nobody reads the pipe any more that this writes to: there may be no more to write."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # no poll on Windows; no file under tests
        return False
    return any(seen & (select.POLLERR | select.POLLHUP) for _, seen in poll.poll(0))
