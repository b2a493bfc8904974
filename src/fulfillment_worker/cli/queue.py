"""`fulfillment-worker queue`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

import click
import msgspec

from fulfillment_worker.admin.inspector import Overview
from fulfillment_worker.cli.clients import ask, inspectors, warn_of_unknown
from fulfillment_worker.cli.options import settings_options
from fulfillment_worker.cli.terminal import away, print_json, table
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.text import visible

_INTERVAL = 1.0
_WORKER_HEADINGS = ["WORKER", "QUEUE", "HEARD", "IN FLIGHT", "BREAKER"]
_HEADINGS = [
    *("QUEUE", "STATE", "WAITING", "OLDEST", "IN FLIGHT", "RETRYING"),
    *("SCHEDULED", "HELD", "DEAD", "WORKERS"),
]


@click.command()
@click.option("--watch", is_flag=True, help="redraw every second, until Ctrl-C")
@click.option("--json", "as_json", is_flag=True, help="print a JSON list; times are Unix ms")
@settings_options("redis_url", "queues", "id_field")
def queue(settings: Settings, watch: bool, as_json: bool) -> int:
    """Show how many orders wait, run, retry and are dead, and who works on them.

    \b
    Examples:
      fulfillment-worker queue
      fulfillment-worker queue --watch --queue express,orders
      fulfillment-worker queue --json
    """
    if not watch:
        overviews = ask(_overviews(settings))
        if as_json:
            print_json(msgspec.to_builtins(overviews))
        else:
            show(overviews)
        return 0
    with suppress(KeyboardInterrupt):  # It is how one stops watching.
        ask(_watch(settings, as_json))
    return 0


async def _overviews(settings: Settings) -> list[Overview]:
    async with inspectors(settings) as all_queues:
        await warn_of_unknown(all_queues)
        return [await inspector.overview() for inspector in all_queues]


async def _watch(settings: Settings, as_json: bool) -> None:
    if as_json:
        async for overviews in _every_second(settings):
            print_json(msgspec.to_builtins(overviews), indent=None)
    elif sys.stdout.isatty():
        await _redraw(settings)
    else:
        async for overviews in _every_second(settings):
            show(overviews)


async def _every_second(settings: Settings) -> AsyncIterator[list[Overview]]:
    async with inspectors(settings) as all_queues:
        while True:
            yield [await inspector.overview() for inspector in all_queues]
            await asyncio.sleep(_INTERVAL)


async def _redraw(settings: Settings) -> None:
    from rich.live import Live  # noqa: PLC0415 - slow to load, and only for this
    from rich.text import Text  # noqa: PLC0415

    with Live(auto_refresh=False) as live:
        async for overviews in _every_second(settings):
            live.update(Text("\n".join(lines(overviews)), no_wrap=True), refresh=True)


def show(overviews: list[Overview]) -> None:
    """Print how queues stand."""
    click.echo("\n".join(lines(overviews)))


def lines(overviews: list[Overview]) -> list[str]:
    """How queues stand, and below that, who works on them."""
    shown = table([_HEADINGS, *map(_row, overviews)], left=2)
    workers = [row for overview in overviews for row in _workers(overview)]
    if workers:
        shown += [
            "",
            *table([["WORKER", "QUEUE", "HEARD", "IN FLIGHT", "BREAKER"], *workers], left=2),
        ]
    return shown


def _row(queue: Overview) -> list[str]:
    oldest = "unknown" if queue.waiting else "-"
    if queue.oldest is not None:
        oldest = away(queue.oldest, queue.at)
    counts = (
        *(queue.in_flight, queue.retrying, queue.scheduled, queue.held),
        *(queue.dead, len(queue.workers)),
    )
    state = "paused" if queue.paused else "open"
    return [visible(queue.queue), state, str(queue.waiting), oldest, *map(str, counts)]


def _workers(queue: Overview) -> list[list[str]]:
    return [
        [
            visible(worker.name),
            visible(queue.queue),
            "-" if worker.last_heard is None else away(worker.last_heard, queue.at),
            str(worker.in_flight),
            "open" if worker.breaker_open else "closed",
        ]
        for worker in queue.workers
    ]
