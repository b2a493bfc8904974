"""A world: workers, producers, operators, a network and a Redis, and what goes wrong with them.

Everything in it follows from its seed. It has storms, in which faults happen, and calms, in which
everything that can go on must.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import msgspec

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.breaker import BreakerState
from fulfillment_worker.core.events import (
    BreakerChanged,
    CommandSent,
    Event,
    Gone,
    LeaseLost,
    OrdersRecovered,
    QueueLost,
    QueueRegained,
    QueueRolledBack,
    ShortageChanged,
)
from fulfillment_worker.runtime.assembly import make_queues, make_worker
from fulfillment_worker.runtime.lifecycle import Ending, consume
from fulfillment_worker.supervisor.release import Releaser
from fulfillment_worker.worker.worker import Worker
from tests.simulation.checker import Checker, Violation
from tests.simulation.dice import Dice, Faults
from tests.simulation.history import History
from tests.simulation.machine import Machine, machines_of_the_world
from tests.simulation.network import Network
from tests.simulation.operators import Operators
from tests.simulation.server import Server, functions_ask_the_world
from tests.simulation.shop import Shop
from tests.simulation.timeline import EPOCH, Timeline
from tests.simulation.weather import Storm

_MOST_TURNS = 20_000
"""Turns of loops in one instant, after which somebody is taken to go round in circles."""
_SLACK = 0.01
"""Seconds: Redis's milliseconds are whole."""
_LONGEST_END = 300.0
"""Virtual seconds from the last storm until everything must have ended."""
_TOLD = (LeaseLost, QueueLost, QueueRegained, QueueRolledBack, OrdersRecovered, BreakerChanged)


@dataclass(frozen=True)
class Outcome:
    """What came of a world. took: virtual seconds. happened: ids of the faults, in order."""

    seed: int
    hash: str
    violations: list[Violation]
    happened: list[str]
    took: float
    lines: list[str] = field(repr=False)


def run_world(
    server: Server, seed: int, *, only: frozenset[str] | None = None, keep: bool = False
) -> Outcome:
    """Run the world of this seed to its end, or to the first thing that must not be.

    only: ids of the faults that may happen; None for all. keep: its history, in the outcome.
    """
    with functions_ask_the_world(), machines_of_the_world():
        outcome = World(server, seed, only, keep=keep).run()
    # Tasks that outlived their end are closed now, and not in the midst of the next world.
    gc.collect()
    return outcome


class _Stop:
    """The signals of one process."""

    def __init__(self) -> None:
        self.asked, self.demanded = asyncio.Event(), asyncio.Event()


class Process:
    """A place for a worker process: one follows the other."""

    def __init__(self, world: World, place: int) -> None:
        self.world = world
        self.place = place
        dice = world.dice
        self.latency = dice.skewed(0.00005, 0.02, f"place {place} latency")
        self.supervised = dice.roll(f"place {place} supervised") < 0.3
        self.concurrency = dice.pick((1, 2, 4, 10, 50, 300), f"place {place} concurrency")
        self.machine: Machine | None = None
        self.worker: Worker | None = None
        self._stop = _Stop()
        self._lives = 0
        self._free: int | None = None
        self._is_limited = self._is_draining = False

    @property
    def name(self) -> str:
        """Of the process that is there now."""
        return f"w{self.place}.{self._lives}"

    @property
    def is_up(self) -> bool:
        """Whether one is there."""
        return self.machine is not None and self.machine.alive

    def start(self) -> None:
        """Start one, unless one is there."""
        if self.is_up:
            return
        world = self.world
        self._lives += 1
        self._free, self._is_limited, self._is_draining = None, False, False
        self._stop = _Stop()
        self.machine = machine = Machine(
            self.name,
            world.network,
            world.dice,
            latency=self.latency,
            exchange=partial(world.history.add, "exchange", worker=self.name),
            fail=world.broken,
        )
        settings = replace(world.settings, concurrency=self.concurrency)
        handler = world.shop.handler(machine, lambda: machine.alive)
        world.machines.append(machine)
        machine.on_end = partial(self._died, machine)
        world.history.add("up", worker=self.name)
        machine.start(self._live(settings, handler))

    async def _live(self, settings: Settings, handler: Any) -> None:
        world, machine, name = self.world, self.machine, self.name
        assert machine is not None
        self.worker = make_worker(settings, world.url, handler, self._hear)
        try:
            ending = await consume(self.worker, self._stop, settings.shutdown_grace, self._hear)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the process
            world.broken(f"{name} ended: {error!r}")
            return
        held = max(self.worker.holding, self.worker.capacity.held)
        if ending is Ending.DRAINED and held:
            world.broken(f"{name} drained, and holds {held}")
        machine.on_end = partial(world.bury, machine)
        world.history.add("drained", worker=name, how=ending.name.lower())
        machine.end()
        world.timeline.after(0.1, self._come_back)

    def quit(self, *, twice: bool) -> None:
        """SIGTERM; and a second one later, maybe."""
        if self.machine is None or not self.machine.alive:
            return
        self._is_draining = True
        self.machine.enter(self._stop.asked.set)
        if twice:
            machine, demanded = self.machine, self._stop.demanded
            self.world.timeline.after(0.5, lambda: machine.enter(demanded.set))

    def note_room(self) -> None:
        """Write for how many more orders it has room, if that has changed."""
        if not self.is_up or self.worker is None:
            return
        free = self.concurrency - self.worker.holding
        free = 0 if self._is_limited or self._is_draining else max(0, free)
        if free != self._free:
            self._free = free
            self.world.history.add("room", worker=self.name, free=free)

    def _hear(self, event: Event) -> None:
        if isinstance(event, CommandSent):
            return
        if isinstance(event, BreakerChanged):
            self._is_limited = event.state is not BreakerState.CLOSED
        if isinstance(event, ShortageChanged):
            self._is_limited = event.room is not None
        # One that was never answered knows nothing of Redis's clock, and of no order.
        if isinstance(event, LeaseLost) and event.orders:
            self.world.lost_lease(event.queue, event.worker)
        if isinstance(event, _TOLD):
            said = msgspec.to_builtins(event)
            queue = said.pop("queue", None)
            told = {"queue": queue} if queue else {}
            self.world.history.add(
                "told", worker=self.name, **told, what=type(event).__name__, fields=said
            )

    def _died(self, machine: Machine) -> None:
        world, worker = self.world, self.worker
        world.bury(machine)
        world.history.add("died", worker=self.name)
        if self.supervised and worker is not None:
            names = worker.names
            name = self.name
            pause = world.dice.skewed(0.005, 0.5, f"{name} released after")
            world.timeline.after(pause, lambda: world.release(name, names))
        pause = world.dice.skewed(0.05, 3, f"{self.name} back after")
        world.timeline.after(pause, self._come_back)

    def _come_back(self) -> None:
        if not self.world.is_ending:
            self.start()


class World:
    """See the module. `run` may be called once."""

    def __init__(
        self, server: Server, seed: int, only: frozenset[str] | None, *, keep: bool
    ) -> None:
        self.seed = seed
        self.dice = dice = Dice(seed)
        self.timeline = Timeline()
        self.lease = dice.pick((1.0, 2.0, 4.0), "lease")
        self.checker = Checker()
        self.history = History(self.timeline, self.checker.feed, keep=keep)
        self.faults = Faults(dice, only)
        server.begin(round(EPOCH * 1000))
        self.server = server
        self.network = Network(self.timeline, server, dice, self.faults, self.stepped)
        many = dice.pick((1, 1, 1, 2, 3, 10), "queues")
        self.url = RedisUrl.parse("unix:///simulation")
        self.settings = Settings(
            redis_url=self.url,
            queues=tuple(f"q{i}" for i in range(many)),
            lease=self.lease,
            order_timeout=dice.pick((0.5, 1.0, 3.0), "timeout"),
            max_attempts=dice.pick((1, 2, 3, 5), "attempts"),
            max_orphanings=dice.pick((1, 2, 3, 3), "orphanings"),
            retry_base=dice.pick((0.05, 0.5), "retry base"),
            retry_cap=2.0,
            breaker=dice.pick(("on", "off"), "breaker"),
            shutdown_grace=dice.pick((0.2, 2.0, 25.0), "grace"),
            events_ttl=EPOCH,  # The ids of events go by the server's own clock: none is trimmed.
        )
        self.shop = Shop(dice, self.faults, self.history, self.lease)
        self.machines: list[Machine] = []
        self._dead: list[Machine] = []
        self.processes = [Process(self, i) for i in range(dice.whole(1, 5, "processes"))]
        self.operators = Operators(self)
        self.is_ending = False
        self._broken: list[Violation] = []
        self._enqueued = dict.fromkeys(self.settings.queues, 0)
        self._seen = {queue: _Seen() for queue in self.settings.queues}
        # When each lease ends, by queue and name; none of a queue whose data has become another.
        self._leases: dict[str, dict[str, int]] = {queue: {} for queue in self.settings.queues}
        # When Redis took up the last exchange of who holds orders, by queue and name.
        self._heard_at: dict[tuple[str, str], float] = {}
        self._saved: dict[str, tuple[float, dict[str, int]]] = {}
        self._last_order_at = float("inf")
        # What runs beside the workers, by its name.
        self._apart: dict[str, Machine] = {}

    def run(self) -> Outcome:
        """See run_world."""
        settings = self.settings
        self.history.add(
            "rules",
            seed=self.seed,
            lease=settings.lease,
            max_attempts=settings.max_attempts,
            max_orphanings=settings.max_orphanings,
            order_timeout=settings.order_timeout,
        )
        try:
            for process in self.processes:
                pause = self.dice.skewed(0.001, 1, f"place {process.place} starts")
                self.timeline.after(pause, process.start)
            self.operators.begin()
            ends = self._storms()
            self._last_order_at = ends + self.lease + 8
            self._go_on_until(ends)
            self._wait_for_the_end()
        except _Stopped:
            pass
        finally:
            for machine in (*self.machines, *self._dead):
                machine.dispose()
            self.network.close()
        violations = [*self._broken, *self.checker.violations]
        return Outcome(
            self.seed,
            self.history.hash,
            violations,
            self.faults.happened,
            self.timeline.now,
            self.history.lines,
        )

    @property
    def takes_orders(self) -> bool:
        """Whether producers go on."""
        return self.timeline.now < self._last_order_at

    # --- what may be called from everywhere ---------------------------------------------------

    def broken(self, what: str) -> None:
        """Something happened that must not."""
        self._broken.append(Violation("unbroken", self.timeline.now, what))

    def bury(self, machine: Machine) -> None:
        """It has ended, and takes no more turns."""
        self.machines.remove(machine)
        self._dead.append(machine)

    def enqueue(self, queue: str, body: bytes, order: str | None) -> None:
        """As a producer does."""
        (reply,) = self.network.ask(("LPUSH", queue, body))
        if isinstance(reply, Exception):
            return
        self._enqueued[queue] += 1
        key = self.operators.limiter.key(order) if order else None
        said = {"key": key} if key else {}
        self.history.add("enqueued", queue=queue, order=order, **said)
        self.network.look_around("producer", queue)

    def delete(self, queue: str) -> None:
        """As an operator does by hand."""
        entries, done = self.network.ask(("LRANGE", queue, 0, -1), ("DEL", queue))
        if isinstance(done, Exception) or not done:
            return
        self._enqueued[queue] -= len(entries)
        self.history.add("deleted", queue=queue, orders=[_id_in(entry) for entry in entries])
        self.network.look_around("operator", queue)

    def release(self, name: str, names: dict[str, str]) -> None:
        """As a supervisor does when its child has died."""

        async def give_back() -> None:
            releaser = Releaser(
                make_queues(self.settings, self.url, lambda _: None), self.lease, lambda _: None
            )
            await releaser.release(names, Gone.KILLED)
            for process in self.processes:
                if process.supervised and process.is_up and process.worker and process.machine:
                    process.machine.enter(process.worker.wake)

        self.history.add("released", worker=name)
        self.run_apart("supervisor", give_back(), latency=0.0002)

    def run_apart(
        self, name: str, program: Coroutine[Any, Any, None], *, latency: float = 0.0
    ) -> None:
        """Run it on a machine of this name, which nothing happens to. latency: seconds."""
        machine = self._apart.get(name)
        if machine is None:
            machine = self._apart[name] = Machine(
                name,
                self.network,
                self.dice,
                latency=latency,
                exchange=lambda: None,
                fail=self.broken,
            )
            self.machines.append(machine)
        machine.start(program)

    def save(self, name: str) -> None:
        """Keep Redis's data as it is now, and what is known of it."""
        self.server.save(name)
        self._saved[name] = self.timeline.now, dict(self._enqueued)

    def has_saved(self, name: str) -> bool:
        """Whether there is such a state to come back with."""
        return name in self._saved

    def come_back(self, name: str, *, told: Callable[[Any], bool]) -> None:
        """Redis restarts, or another takes its place, with the data that was saved."""
        then, enqueued = self._saved[name]
        self.network.cut_all("restart", told)
        self.network.life += 1
        self.server.come_back(name)
        self.network.tell_time()
        self._enqueued = dict(enqueued)
        for queue, seen in self._seen.items():
            seen.forget(self.server.control, queue)
            if then < self.timeline.now:
                self.history.add("rolled_back", queue=queue, to=round(then, 6))
            self.operators.find_rolled_back(queue)
        self._leases.clear()
        self._heard_at.clear()

    # --- the course of things -----------------------------------------------------------------

    def _storms(self) -> float:
        """Plan all storms; returns when the last one ends."""
        now = 0.3
        for number in range(self.dice.whole(1, 3, "storms")):
            lasts = self.dice.between(2, 12, f"storm {number} lasts")
            storm = Storm(self, number, now, lasts)
            self.timeline.at(now, storm.begin)
            self.timeline.at(now + lasts, storm.end)
            now += lasts + self.lease + self.dice.between(4, 8, f"calm {number} lasts")
        return now

    def _go_on_until(self, end: float) -> None:
        turns, instant = 0, -1.0
        while True:
            machine, turn_at = self._next_machine()
            if min(turn_at, self.timeline.next_at) > end:
                self.timeline.now = end
                return
            if self.timeline.next_at <= turn_at:
                self.timeline.go_on()
            else:
                assert machine is not None
                self.timeline.now = turn_at
                machine.turn()
                for process in self.processes:
                    if process.machine is machine:
                        process.note_room()
            turns = turns + 1 if self.timeline.now == instant else 0
            instant = self.timeline.now
            if turns > _MOST_TURNS:
                self.broken(f"nothing ends the turns at {instant:.6f}")
            if self._broken or self.checker.violations:
                raise _Stopped

    def _next_machine(self) -> tuple[Machine | None, float]:
        first, first_at = None, float("inf")
        for machine in self.machines:
            at = machine.next_at
            if at < first_at:
                first, first_at = machine, at
        return first, first_at

    def _wait_for_the_end(self) -> None:
        ends = self.timeline.now + _LONGEST_END
        while (self.takes_orders or not self._is_empty()) and self.timeline.now < ends:
            self._go_on_until(self.timeline.now + 0.5)
        self.is_ending = True
        self.history.add("end")
        self.checker.finish()
        for process in self.processes:
            process.quit(twice=False)
        self._go_on_until(self.timeline.now + 15)
        for process in self.processes:
            if process.is_up:
                self.broken(f"{process.name} holds nothing, and has not ended 15 s after SIGTERM")

    def _is_empty(self) -> bool:
        return all(seen.is_empty for seen in self._seen.values())

    # --- what Redis has -----------------------------------------------------------------------

    def stepped(self, actor: str, queue: str) -> None:
        """Redis did something: see what. actor: who made it. queue: "" for all."""
        for each in [queue] if queue in self._seen else self._seen if not queue else []:
            self._look_at(actor, each)

    def _name_of(self, process: str, queue: str) -> str | None:
        """The name under which this process holds orders of the queue now."""
        for each in self.processes:
            if each.name == process and each.worker:
                return each.worker.names[queue]
        return None

    def lost_lease(self, queue: str, name: str) -> None:
        """A worker believes so: it must be true."""
        heard = self._heard_at.get((queue, name))
        if heard is not None and self.timeline.now - heard < self.lease - _SLACK:
            self.broken(f"{name} lost the lease on {queue}, and was heard at {heard:.3f}")

    def _look_at(self, actor: str, queue: str) -> None:
        seen = self._seen[queue]
        news, letters, *places, buried, leases = self.server.look(queue, seen.last, seen.buried)
        seen.buried = buried
        begins = {
            by.decode()
            for by in (self._note_event(actor, queue, letters, *each) for each in news)
            if by
        }
        # A copy whose order has a status by another one dies without an event.
        for _, reason in letters:
            self.history.add(
                "status", queue=queue, order=None, status="dead", reason=reason.decode()
            )
        before = self._leases.get(queue)
        self._leases[queue] = ends = dict(
            zip(map(bytes.decode, leases[::2]), map(_whole, leases[1::2]), strict=True)
        )
        for name, until in ends.items():
            if before is None or before.get(name) != until:
                # One that had none has claimed: an exchange that stood by, when another placed an
                # order.
                has_claimed = before is not None and name not in before
                self._note_lease(actor, queue, name, until, has_claimed or name in begins)
        if places != seen.places:
            seen.places = places
            self.history.add("places", queue=queue, **dict(zip(_PLACES, places, strict=True)))

    def _note_lease(self, actor: str, queue: str, name: str, until: int, by_itself: bool) -> None:
        worker = _process_of(name)
        renewed = until >= self.network.redis_ms + 1000 * (self.lease - _SLACK)
        by_itself = by_itself or worker == actor
        if renewed and by_itself and name == self._name_of(worker, queue):
            self._heard_at[queue, name] = self.timeline.now
            self.history.add("heard", worker=worker, queue=queue, name=name)

    def _note_event(
        self,
        actor: str,
        queue: str,
        letters: list[list[bytes]],
        event: bytes,
        order: bytes,
        status: bytes,
        attempt: bytes,
        by: bytes,
    ) -> bytes:
        """Write down a change of status; returns the name of the worker that begins the order."""
        self._seen[queue].last = event.decode()
        said: dict[str, Any] = {"order": order.decode() or None, "status": status.decode()}
        # One that begins may have been begun for a worker that had made its exchange before.
        worker, begins = actor, status == b"processing"
        if status == b"dead":
            said["reason"] = _take_reason(letters, order)
        if begins:
            said["name"] = by.decode()
            worker = _process_of(by.decode())
        self.history.add("status", queue=queue, **said, attempt=int(float(attempt)), worker=worker)
        return by if begins else b""


def _take_reason(letters: list[list[bytes]], order_id: bytes) -> str:
    """Of the first new letter of this order, which is taken off; "" where it is gone already."""
    for letter in letters:
        if letter[0] == order_id:
            letters.remove(letter)
            return letter[1].decode()
    return ""


class _Stopped(Exception):
    """Something is broken: what comes after it says nothing."""


_PLACES = (
    *("waiting", "in_flight", "retrying", "dead", "fulfilled", "duplicates", "dropped"),
    *("held", "cancelled"),
)
_OPEN = [_PLACES.index(place) for place in ("waiting", "in_flight", "retrying", "held")]


class _Seen:
    """What is known of a queue. last: id of the last event. buried: number of the last letter."""

    def __init__(self) -> None:
        self.last = "0-0"
        self.buried = 0
        self.places: list[int] = []

    @property
    def is_empty(self) -> bool:
        """Whether everything in it has ended."""
        return not any(self.places[place] for place in _OPEN if self.places)

    def forget(self, control: Any, queue: str) -> None:
        """The data is another."""
        keys = f"{{{queue}}}:"
        last, buried = control.ask(
            ("XREVRANGE", keys + "events", "+", "-", "COUNT", 1), ("HGET", keys + "books", "buried")
        )
        self.last = last[0][0].decode() if last else "0-0"
        self.buried = int(buried or 0)
        self.places = []


def _whole(number: bytes) -> int:
    return int(float(number))


def _process_of(name: str) -> str:
    """The process that has this name, in which orders are held."""
    return name.partition("-")[0]


def _id_in(entry: bytes) -> str | None:
    try:
        order: str = json.loads(entry)["order_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return order
