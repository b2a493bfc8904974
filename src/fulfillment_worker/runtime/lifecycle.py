"""A worker's life in one process: start, consume, drain, stop. Each step is an event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.events import Event, WorkerDraining, WorkerStarted, WorkerStopped
from fulfillment_worker.handlers.handler import Handler
from fulfillment_worker.runtime.assembly import make_worker
from fulfillment_worker.runtime.exit_codes import DONE, FAILED
from fulfillment_worker.runtime.version import version
from fulfillment_worker.runtime.watch import Watch
from fulfillment_worker.system.forks import end_copies
from fulfillment_worker.worker.worker import Worker

_ABORT_GRACE = 6.0
"""Seconds after an abort for handlers to end (the executor gives them 5) and be requeued."""
_SECOND_SIGNAL_GRACE = 2.0
"""Seconds for the same after a second signal."""


class Ending(Enum):
    """How a life ended."""

    DRAINED = auto()  # nothing is held any more
    ABORTED = auto()  # a second signal cut it short
    STRANDED = auto()  # orders are still held: they run elsewhere once the lease has run out

    @property
    def exit_code(self) -> int:
        """With which the process ends."""
        return DONE if self is Ending.DRAINED else FAILED


class StopRequests(Protocol):
    """What ends it: `asked` lets running orders finish, `demanded` cuts them short."""

    asked: asyncio.Event
    demanded: asyncio.Event


async def live(
    settings: Settings,
    redis_url: RedisUrl,
    handler: Handler,
    watch: Watch,
    stop: StopRequests,
    *,
    on_made: Callable[[Worker], None] = lambda _: None,
) -> Ending:
    """From a loaded handler to the last order given back.

    redis_url: where the queues are; never an embedded one. on_made: is shown the worker before it
    takes its first order. Raises what the worker raises.
    """
    async with watch.ticking():
        worker = make_worker(settings, redis_url, handler, watch.tell)
        on_made(worker)
        watch.measure(worker)
        watch.tell(
            WorkerStarted(
                queues=settings.queues,
                redis=settings.redis_url.redacted,
                concurrency=settings.concurrency,
                version=version(),
            )
        )
        ending = await consume(worker, stop, settings.shutdown_grace, watch.tell)
        await handler.close()
        end_copies()
    watch.tell(WorkerStopped(ending.name.lower(), worker.holding))
    return ending


async def consume(
    worker: Worker, stop: StopRequests, grace: float, emit: Callable[[Event], None]
) -> Ending:
    """Consume until `asked`; then drain for up to `grace` seconds, or until `demanded`.

    What still runs then is cut short and requeued. Raises what the worker raises.
    """
    consuming = asyncio.create_task(worker.run())
    await _first(consuming, stop.asked)
    emit(WorkerDraining(grace))
    worker.quiet()
    await _first(consuming, stop.demanded, within=grace)
    if not consuming.done():
        worker.abort()
        await asyncio.wait(
            {consuming}, timeout=_SECOND_SIGNAL_GRACE if stop.demanded.is_set() else _ABORT_GRACE
        )
    if not consuming.done():
        consuming.cancel()
        await asyncio.wait({consuming})
        return Ending.STRANDED
    consuming.result()
    return Ending.ABORTED if stop.demanded.is_set() else Ending.DRAINED


async def _first(
    consuming: asyncio.Task[None], event: asyncio.Event, within: float | None = None
) -> None:
    """Return when consuming has ended, the event is set, or so many seconds have passed."""
    heard = asyncio.create_task(event.wait())
    await asyncio.wait({consuming, heard}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    heard.cancel()
    if consuming.done():
        consuming.result()
