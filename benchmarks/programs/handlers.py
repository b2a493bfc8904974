"""The handlers of this worker in the benchmarks, one for each kind of work."""

from __future__ import annotations

import asyncio
import time

from marks import arrive, first_to_get_here, mark, tell

from fulfillment_worker import Order, Reject, Retry


async def noop(order: Order) -> None:
    """Nothing."""


async def wait(order: Order) -> None:
    """10 ms of waiting, as for a remote service."""
    await asyncio.sleep(0.01)


async def burn(order: Order) -> None:
    """100 microseconds of CPU."""
    _burn(0.0001)


def compute(order: Order) -> None:
    """20 ms of CPU in a plain function."""
    _burn(0.02)


async def note(order: Order) -> None:
    """Tell when each order is started."""
    mark()


async def arrived(order: Order) -> None:
    """Tell when this order is started."""
    arrive(order.id)


async def arrived_wait(order: Order) -> None:
    """The same, and 10 ms of waiting."""
    arrive(order.id)
    await asyncio.sleep(0.01)


async def stick(order: Order) -> None:
    """Hang the first time, so that the worker can be killed with the order in its hands."""
    mark()
    if first_to_get_here():
        await asyncio.sleep(3600)


async def reject(order: Order) -> None:
    """A dead letter, at once."""
    raise Reject("made for the benchmark")


async def postpone(order: Order) -> None:
    """Again in an hour."""
    raise Retry("made for the benchmark", after=3600)


async def mixed(order: Order) -> None:
    """0.2 s of waiting, every twentieth order 2 s; tells when each of the others is done."""
    slow = int(order.id.removeprefix("A-")) % 20 == 0
    await asyncio.sleep(2.0 if slow else 0.2)
    if not slow:
        tell(b"%s %d\n" % (order.id.encode(), time.time_ns()))


def _burn(seconds: float) -> None:
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        pass
