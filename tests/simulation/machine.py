"""A process of the world: the real worker in a loop of its own, on a machine of its own.

Its machine's clocks, its random numbers and its names come from the seed. It may be stopped and go
on, and be killed between any two steps of its loop. A handler may block it: then its own time is
ahead of the world's, and it does nothing else until the world is there, too.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from fulfillment_worker.worker import ledger, outage
from tests.simulation.dice import Dice
from tests.simulation.loop import VirtualLoop
from tests.simulation.network import Network
from tests.simulation.timeline import EPOCH

_turning: list[Machine] = []


class Machine:
    """name: of the process. latency: seconds to Redis, each way. skew: of its wall clock, seconds.

    exchange: called for each message that it sends. fail: told what nobody caught.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        dice: Dice,
        *,
        latency: float,
        exchange: Callable[[], None],
        fail: Callable[[str], None],
    ) -> None:
        self.name = name
        self.latency = latency
        self.skew = 0.0
        self.is_stopped = False
        self._network = network
        self._timeline = network.timeline
        self._alive = True
        self._busy_until = 0.0
        self._local: float | None = None
        self._booted = -dice.between(10, 10_000, f"{name} booted")
        self._random = random.Random(f"{dice.roll(name)}")
        self._links = 0
        self._names = 0
        # How many more steps of its loop it takes until it is killed; None for no end.
        self._steps_left: int | None = None
        # Called when it has ended by itself, or was killed.
        self.on_end: Callable[[], None] | None = None
        self._exchange = exchange
        # Called once, when it sends something next.
        self.on_exchange: Callable[[], None] | None = None
        self._fail = fail
        self.loop = VirtualLoop(self)
        self._main: asyncio.Task[Any] | None = None

    # --- what its process takes from it -------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._alive

    @property
    def local(self) -> float:
        """Its own time in the world's seconds."""
        return self._timeline.now if self._local is None else self._local

    def monotonic(self) -> float:
        """See time.monotonic."""
        return self.local - self._booted

    def wall(self) -> float:
        """See time.time."""
        return EPOCH + self.local + self.skew

    def random(self) -> float:
        """See random.random."""
        return self._random.random()

    def new_name(self) -> str:
        """See worker/names.py."""
        self._names += 1
        return f"{self.name}-{self._names}"

    def block(self, seconds: float) -> None:
        """Take so long, and let nothing else run meanwhile."""
        self._local = self.local + seconds

    async def connect(
        self, factory: Callable[[], asyncio.Protocol]
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Open a connection to Redis."""
        self._links += 1
        link = await self._network.connect(self, self._links)
        protocol = factory()
        link.protocol = protocol
        protocol.connection_made(link)
        return link, protocol

    def enter(self, call: Callable[..., object], *args: object) -> None:
        """Have its loop call this in its next turn."""
        if self._alive:
            self.loop.call_soon(call, *args)

    def tripped(self) -> None:
        """It has sent something."""
        self._exchange()
        hook, self.on_exchange = self.on_exchange, None
        if hook:
            hook()

    def failed(self, context: dict[str, Any]) -> None:
        """Something raised, and nobody caught it."""
        self._fail(f"{context.get('message')}: {context.get('exception')!r}")

    # --- its life -----------------------------------------------------------------------------

    def start(self, main: Coroutine[Any, Any, None]) -> None:
        """Run this as its program."""
        with _on(self):
            self._main = self.loop.create_task(main)

    @property
    def next_at(self) -> float:
        """When it has something to do, in the world's seconds."""
        if not self._alive or self.is_stopped:
            return float("inf")
        return max(self.loop.next_at + self._booted, self._busy_until, self._timeline.now)

    def turn(self) -> None:
        """Let its loop run once."""
        self._local = self._timeline.now
        try:
            with _on(self):
                self.loop.turn(self._goes_on)
        finally:
            self._busy_until, self._local = self._local, None

    def kill(self, after_steps: int) -> None:
        """End it after so many more steps of its loop."""
        self._steps_left = after_steps
        if after_steps == 0:
            self.end()

    def end(self) -> None:
        """End it now: nothing of it runs any more."""
        if not self._alive:
            return
        self._alive = False
        for link in self._network.links_of(self):
            link.died()
        if self.on_end:
            self.on_end()

    def dispose(self) -> None:
        """Let Python forget it, when the world is over."""
        self._alive = False
        tasks = asyncio.all_tasks(self.loop)
        for _ in range(4):
            for task in tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                if not task.done():
                    with _on(self):
                        task.cancel()
            for _ in range(20):
                with _on(self):
                    self.loop.turn(lambda: True)

    def _goes_on(self) -> bool:
        if not self._alive or self.is_stopped or self.local > self._timeline.now:
            return False
        if self._steps_left is not None:
            if self._steps_left <= 0:
                self.end()
                return False
            self._steps_left -= 1
        return True


@contextmanager
def _on(machine: Machine) -> Iterator[None]:
    _turning.append(machine)
    try:
        yield
    finally:
        _turning.pop()


_real_monotonic, _real_time = time.monotonic, time.time
_real_random, _real_uniform = random.random, random.uniform


def _monotonic() -> float:
    return _turning[-1].monotonic() if _turning else _real_monotonic()


def _time() -> float:
    return _turning[-1].wall() if _turning else _real_time()


def _random() -> float:
    return _turning[-1].random() if _turning else _real_random()


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * _turning[-1].random() if _turning else _real_uniform(low, high)


def _worker_name() -> str:
    return _turning[-1].new_name()


@contextmanager
def machines_of_the_world() -> Iterator[None]:
    """Within it, what runs on a machine has that machine's clocks, chance and names."""
    defaults = outage.Outage.__init__.__kwdefaults__
    with ExitStack() as stack:
        for module, name, other in (
            (time, "monotonic", _monotonic),
            (time, "time", _time),
            (random, "random", _random),
            (random, "uniform", _uniform),
            (ledger, "worker_name", _worker_name),
        ):
            stack.enter_context(mock.patch.object(module, name, other))
        stack.enter_context(mock.patch.dict(defaults, clock=_monotonic))
        yield
