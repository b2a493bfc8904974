"""`demo`: the whole thing on one machine, with a storefront that places orders, and a view."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import msgspec
from rich.console import Console

from fulfillment_worker.admin.inspector import Inspector
from fulfillment_worker.admin.producer import Producer
from fulfillment_worker.admin.redis_client import connected
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.demo.books import Account, summary
from fulfillment_worker.demo.console import console_beside
from fulfillment_worker.demo.live import LiveView
from fulfillment_worker.demo.places import log_path, places
from fulfillment_worker.demo.shop import fulfil
from fulfillment_worker.demo.storefront import Storefront, entries
from fulfillment_worker.demo.tally import Tally
from fulfillment_worker.demo.view import PlainView, View
from fulfillment_worker.embedded.reachable import reachable
from fulfillment_worker.handlers.function import AsyncFunction
from fulfillment_worker.observability.logs import configure
from fulfillment_worker.runtime.exit_codes import DONE, FAILED, PORT_TAKEN
from fulfillment_worker.runtime.lifecycle import live
from fulfillment_worker.runtime.stop_signals import StopSignals
from fulfillment_worker.runtime.watch import PortTaken, Watch

_RETRY_BASE = 0.3
"""Seconds; nobody wants to wait long for what was promised to be tried again."""


class _DemoParts(msgspec.Struct, frozen=True):
    """Who takes part from the beginning. rate: orders per second."""

    settings: Settings
    tally: Tally
    watch: Watch
    rate: float
    seed: int


def demo(settings: Settings, *, orders: int | None, rate: float, seed: int | None) -> int:
    """Show the worker at work on the embedded server of the settings; returns the exit code.

    orders: how many to place, and then end; None goes on until a signal. rate: orders per second.
    seed: gives the same orders, with the same fates; None any.
    """
    settings = replace(settings, queues=settings.queues[:1], retry_base=_RETRY_BASE)
    tally = Tally(orders)
    watch = Watch(settings, tally)
    chosen = random.SystemRandom().randrange(2**63) if seed is None else seed
    parts = _DemoParts(settings, tally, watch, rate, chosen)
    try:
        with _logging(settings, watch.metrics.logged), watch.serving():
            return asyncio.run(_run(parts))
    except PortTaken as error:
        return _complain([str(error)], PORT_TAKEN)
    except QueueUnavailable as error:
        return _complain([str(error)], FAILED)


async def _run(parts: _DemoParts) -> int:
    with StopSignals() as signals:
        view = _view(signals.asked.set)
        parts.tally.notice, parts.tally.on_complete = view.happened, signals.asked.set
        account = await _with_resources(parts, view, signals)
    view.summary(summary(account))
    return _complain(account.faults, FAILED) if account.faults else DONE


async def _with_resources(parts: _DemoParts, view: View, signals: StopSignals) -> Account:
    """Put up what the demo needs, let it run, and take everything down."""
    settings, tally, watch = parts.settings, parts.tally, parts.watch
    async with reachable(settings.redis_url) as redis_url, connected(redis_url) as client:
        queue = settings.queues[0]
        inspector = Inspector(client, queue, redis_url, id_field=settings.id_field)
        before = (await inspector.overview()).survey
        tally.received_before = before.received
        offered = entries(parts.seed, tally.orders, settings.id_field)
        storefront = Storefront(Producer(client, queue, redis_url), offered, parts.rate, tally)

        def on_draining() -> None:
            storefront.close()
            view.draining()

        tally.on_draining = on_draining
        began = time.monotonic()
        handler = AsyncFunction(fulfil, "demo")
        # Orders are placed and fulfilled until all have ended, or a signal asks for the end.
        async with (
            console_beside(replace(settings, redis_url=redis_url)) as console,
            view.showing(places(settings, watch.port, redis_url.path, console), tally, inspector),
            asyncio.TaskGroup() as group,
        ):
            group.create_task(storefront.run())
            living = group.create_task(live(settings, redis_url, handler, watch, signals))
        seconds = time.monotonic() - began
        after = (await inspector.overview()).survey
    return Account(tally=tally, before=before, after=after, ending=living.result(), seconds=seconds)


def _view(on_lost: Callable[[], None]) -> View:
    console = Console(highlight=False)
    if sys.stdout.isatty() and not console.is_dumb_terminal:
        return LiveView(console, on_lost)
    return PlainView(on_lost)


@contextmanager
def _logging(settings: Settings, on_log: Callable[[str], None]) -> Iterator[None]:
    """Log to a file among the data: on the terminal it would be in the view's way."""
    with _log_file(log_path(settings)) as file:
        log_to = configure(settings.log_level, settings.log_format, file, on_log)
        try:
            yield
        finally:
            log_to.close()


def _log_file(path: Path) -> TextIO:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.open("a", encoding="utf-8")
    except OSError:
        # The server needs the folder too, and says what is wrong with it.
        return Path(os.devnull).open("w", encoding="utf-8")


def _complain(lines: list[str], code: int) -> int:
    for line in lines:
        print(f"fulfillment-worker: {line}", file=sys.stderr)  # noqa: T201 - lines for people
    return code
