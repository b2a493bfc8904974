"""A worker's life in one process: start, consume, drain, stop. Each step is an event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.events import (
    Event,
    ResourcesMade,
    ResourcesNotClosed,
    ResourcesUnready,
    WorkerDraining,
    WorkerStarted,
    WorkerStopped,
)
from fulfillment_worker.core.redaction import redact
from fulfillment_worker.handlers.errors import ResourcesUnavailable
from fulfillment_worker.handlers.handler import LoadedHandler
from fulfillment_worker.handlers.result import describe
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
_CLOSE_GRACE = 5.0
"""Seconds in which a handler's resources may be closed."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two attempts to make them; twice as many each time."""


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
    handler: LoadedHandler,
    watch: Watch,
    stop: StopRequests,
    *,
    on_made: Callable[[Worker], None] = lambda _: None,
) -> Ending:
    """From a loaded handler to the last order given back.

    redis_url: where the queues are; never an embedded one. on_made: is shown the worker before it
    takes its first order. Raises what the worker raises, and HandlerError where the resources that
    the handler has turn out not to be what it takes.
    """
    async with watch.ticking():
        worker = make_worker(settings, redis_url, handler, watch.tell)
        on_made(worker)
        watch.measure(worker)
        ending = Ending.DRAINED
        if await open_handler(handler, stop, watch.tell):
            watch.tell(
                WorkerStarted(
                    queues=settings.queues,
                    redis=settings.redis_url.redacted,
                    concurrency=settings.concurrency,
                    version=version(),
                )
            )
            ending = await consume(worker, stop, settings.shutdown_grace, watch.tell)
        await close_handler(handler, watch.tell)
        end_copies()
    watch.tell(WorkerStopped(ending.name.lower(), worker.holding))
    return ending


async def open_handler(
    handler: LoadedHandler, stop: StopRequests, emit: Callable[[Event], None]
) -> bool:
    """Make the handler's resources, however often it takes; False where a stop was asked for first.

    Raises HandlerError.
    """
    began, pause = time.monotonic(), _SHORTEST_PAUSE
    while True:
        opening = asyncio.create_task(handler.open())
        if not await _before(stop.asked, opening):
            opening.cancel()
            await asyncio.wait({opening}, timeout=_CLOSE_GRACE)
            return False
        try:
            opening.result()
        except ResourcesUnavailable as error:
            emit(ResourcesUnready(str(error), pause))
        else:
            if pause > _SHORTEST_PAUSE:
                emit(ResourcesMade(time.monotonic() - began))
            return True
        if not await _before(stop.asked, asyncio.create_task(asyncio.sleep(pause))):
            return False
        pause = min(_LONGEST_PAUSE, 2 * pause)


async def close_handler(handler: LoadedHandler, emit: Callable[[Event], None]) -> None:
    """Close what the handler holds, within a few seconds. Never raises."""
    closing = asyncio.create_task(handler.close())
    await asyncio.wait({closing}, timeout=_CLOSE_GRACE)
    if not closing.done():
        closing.cancel()
        emit(ResourcesNotClosed(f"they were not closed within {_CLOSE_GRACE:g} s"))
    elif not closing.cancelled() and (error := closing.exception()) is not None:
        emit(ResourcesNotClosed(redact(describe(error))))


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


async def _before(event: asyncio.Event, task: asyncio.Task[None]) -> bool:
    """Whether the task ended before the event was set."""
    heard = asyncio.create_task(event.wait())
    await asyncio.wait({task, heard}, return_when=asyncio.FIRST_COMPLETED)
    heard.cancel()
    return task.done()


async def _first(
    consuming: asyncio.Task[None], event: asyncio.Event, within: float | None = None
) -> None:
    """Return when consuming has ended, the event is set, or so many seconds have passed."""
    heard = asyncio.create_task(event.wait())
    await asyncio.wait({consuming, heard}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    heard.cancel()
    if consuming.done():
        consuming.result()
