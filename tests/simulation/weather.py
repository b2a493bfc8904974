"""Storms: what goes wrong at a time of its own, and not with a message or an order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.world import Process, World

_MOST_OF_A_KIND = 5
_MOST = {"clock": 1}
"""In one storm. Of two steps of the clock, the first must have been noticed before the second."""


class Storm:
    """One storm of a world. number: which. lasts: seconds."""

    def __init__(self, world: World, number: int, begins: float, lasts: float) -> None:
        self._world = world
        self._number = number
        self._begins = begins
        self._ends = begins + lasts
        self._mends: list[Callable[[], None]] = []
        self._is_over = False

    def begin(self) -> None:
        """From here on, things go wrong."""
        world = self._world
        world.faults.storm = True
        world.network.storm_ends = self._ends
        world.history.add("fault", kind="storm", id=f"storm {self._number}")
        is_stepped = world.dice.roll("clock or snapshots") < 0.4
        if not is_stepped:
            self._keep_snapshots()
        for kind in KINDS:
            if kind == "clock" and not is_stepped:
                continue
            if kind == "clock" or world.dice.roll(f"has {kind}") < 0.4:
                most = _MOST.get(kind, _MOST_OF_A_KIND)
                for i in range(world.dice.whole(1, most, f"{self._number} {kind} many")):
                    self._plan(f"{kind}:{self._number}.{i}", kind)

    def end(self) -> None:
        """All is mended, and nothing goes wrong any more."""
        world = self._world
        self._is_over = True
        world.faults.storm = False
        for mend in self._mends:
            mend()
        world.network.mend()
        for process in world.processes:
            process.start()
        world.history.add("calm")

    def _plan(self, fault: str, kind: str) -> None:
        world = self._world
        when = world.dice.between(self._begins, self._ends, f"{fault}:when")

        def happen() -> None:
            if not self._is_over and world.faults.planned(fault):
                world.history.add("fault", kind=kind, id=fault)
                KINDS[kind](self, fault)

        world.timeline.at(when, happen)

    def _keep_snapshots(self) -> None:
        world = self._world

        def save() -> None:
            if not self._is_over:
                world.save("snapshot")
                pause = world.dice.between(0.2, 2, f"snapshot at {world.timeline.now:.3f}")
                world.timeline.after(pause, save)

        save()

    # --- how long -----------------------------------------------------------------------------

    def _for_a_while(
        self, fault: str, longest: float, mend: Callable[[], None], shortest: float = 0.01
    ) -> float:
        """Mend it after some seconds, at the end of the storm at the latest; returns how many."""
        world = self._world
        seconds = world.dice.skewed(shortest, longest, f"{fault}:for")
        mended = [False]

        def once() -> None:
            if not mended[0]:
                mended[0] = True
                world.history.add("mended", id=fault)
                mend()

        world.timeline.after(seconds, once)
        self._mends.append(once)
        return seconds

    def _process(self, fault: str) -> Process:
        return self._world.dice.pick(self._world.processes, f"{fault}:who")

    # --- processes ----------------------------------------------------------------------------

    def _kill(self, fault: str) -> None:
        machine = self._process(fault).machine
        if machine:
            machine.kill(self._world.dice.whole(0, 40, f"{fault}:steps"))

    def _stop(self, fault: str) -> None:
        process = self._process(fault)
        machine = process.machine
        if machine is None or machine.is_stopped or not machine.alive:
            return
        world, name = self._world, process.name

        def go_on() -> None:
            machine.is_stopped = False
            world.history.add("continued", worker=name)

        def stop() -> None:
            if self._is_over or machine.is_stopped or not machine.alive:
                return
            world.history.add("stopped", worker=name)
            machine.is_stopped = True
            is_long = world.dice.roll(f"{fault}:is long") < 0.5
            shortest = 1.05 * world.lease if is_long else 0.01
            self._for_a_while(fault, 3 * world.lease, go_on, shortest)

        if world.dice.roll(f"{fault}:in an exchange") < 0.6:
            # What it has asked for is answered while it is stopped.
            machine.on_exchange = stop
        else:
            stop()

    def _quit(self, fault: str) -> None:
        process = self._process(fault)
        process.quit(twice=self._world.dice.roll(f"{fault}:twice") < 0.3)
        pause = self._world.dice.between(0.1, 3, f"{fault}:next")
        self._world.timeline.after(pause, process.start)

    def _skew(self, fault: str) -> None:
        machine = self._process(fault).machine
        if machine:
            machine.skew += self._world.dice.between(-100, 100, f"{fault}:by")

    # --- Redis --------------------------------------------------------------------------------

    def _tells(self, fault: str) -> Callable[[Any], bool]:
        dice = self._world.dice
        return lambda link: dice.roll(f"{fault}:{link.name}") < 0.8

    def _restart(self, fault: str) -> None:
        self._world.save("now")
        self._world.come_back("now", told=self._tells(fault))
        self._refuse(fault)

    def _roll_back(self, fault: str) -> None:
        if self._world.has_saved("snapshot"):
            self._world.come_back("snapshot", told=self._tells(fault))
            # Another host's clock. What is known of steps before is as old as the data.
            if self._number == 0:
                step = self._world.dice.pick((0.0, 0.0, -3.0, 5.0), f"{fault}:clock")
                self._world.network.clock_off += step

    def _refuse(self, fault: str) -> None:
        network = self._world.network
        network.refuses = True
        network.cut_all("unreachable", self._tells(fault))

        def mend() -> None:
            network.refuses = False

        self._for_a_while(fault, 4, mend)

    def _stand_still(self, fault: str) -> None:
        network, world = self._world.network, self._world
        most = min(8.0, self._ends - world.timeline.now)
        seconds = world.dice.skewed(0.01, max(most, 0.02), f"{fault}:for")
        network.free_at = max(network.free_at, world.timeline.now) + seconds

    def _ask(self, *command: Any) -> None:
        self._world.network.ask(command)
        self._world.network.settle()
        self._world.network.pump()

    def _fill(self, fault: str) -> None:
        self._ask("CONFIG", "SET", "maxmemory", "1")
        self._for_a_while(fault, 4, lambda: self._ask("CONFIG", "SET", "maxmemory", "0"))

    def _make_a_replica(self, fault: str) -> None:
        self._ask("REPLICAOF", "127.0.0.1", "1")
        self._for_a_while(fault, 4, lambda: self._ask("REPLICAOF", "NO", "ONE"))

    def _forget_functions(self, _fault: str) -> None:
        self._ask("FUNCTION", "FLUSH")

    def _hang_up(self, fault: str) -> None:
        self._world.network.cut_all("killed", self._tells(fault))

    def _step_clock(self, fault: str) -> None:
        # What is below a second isn't noticed, and is made up for by the lease.
        step = self._world.dice.skewed(1.5, 60, f"{fault}:by")
        forward = self._world.dice.roll(f"{fault}:forward") < 0.5
        self._world.network.clock_off += step if forward else -step
        # Who starts right then knows nothing of the time before.
        process = self._process(fault)
        if self._world.dice.roll(f"{fault}:starts") < 0.6:
            if process.machine:
                process.machine.kill(0)
            self._world.timeline.after(0.05, process.start)

    def _hang_up_on_one(self, fault: str) -> None:
        links = self._world.network.links_of()
        if links:
            self._world.dice.pick(links, f"{fault}:which").hang_up(
                "killed", tell=self._tells(fault)(links[0])
            )


KINDS: dict[str, Callable[[Storm, str], None]] = {
    "kill": Storm._kill,
    "stop": Storm._stop,
    "quit": Storm._quit,
    "skew": Storm._skew,
    "restart": Storm._restart,
    "rollback": Storm._roll_back,
    "unreachable": Storm._refuse,
    "stands still": Storm._stand_still,
    "full": Storm._fill,
    "replica": Storm._make_a_replica,
    "functions gone": Storm._forget_functions,
    "hangs up": Storm._hang_up,
    "hangs up on one": Storm._hang_up_on_one,
    "clock": Storm._step_clock,
}
