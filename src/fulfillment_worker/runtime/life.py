"""A worker's life, from consuming to the last order given back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from fulfillment_worker.worker.worker import Worker

_LAST_WORDS = 6.0
"""Seconds after an abort for handlers to end (the executor gives them 5) and be requeued."""
_HURRIED = 2.0
"""Seconds for the same after a second signal."""


class Ending(Enum):
    """How a life ended."""

    DRAINED = auto()  # nothing is held any more
    ABORTED = auto()  # a second signal cut it short
    STRANDED = auto()  # orders are still held: they run elsewhere once the lease has run out


async def live(
    worker: Worker,
    *,
    asked: asyncio.Event,
    demanded: asyncio.Event,
    grace: float,
    on_asked: Callable[[], None],
) -> Ending:
    """Consume until `asked`; then drain for up to `grace` seconds, or until `demanded`.

    What still runs then is cut short and requeued. Raises what the worker raises.
    """
    life = asyncio.create_task(worker.run())
    await _first(life, asked)
    on_asked()
    worker.quiet()
    await _first(life, demanded, within=grace)
    if not life.done():
        worker.abort()
        await asyncio.wait({life}, timeout=_HURRIED if demanded.is_set() else _LAST_WORDS)
    if not life.done():
        life.cancel()
        await asyncio.wait({life})
        return Ending.STRANDED
    life.result()
    return Ending.ABORTED if demanded.is_set() else Ending.DRAINED


async def _first(
    life: asyncio.Task[None], event: asyncio.Event, within: float | None = None
) -> None:
    """Return when the life has ended, the event is set, or so many seconds have passed."""
    heard = asyncio.create_task(event.wait())
    await asyncio.wait({life, heard}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    heard.cancel()
    if life.done():
        life.result()
