"""An operator who sets limits of the fleet, changes them and lifts them, at random."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.core.limits import UNITS, Limits, Rate

if TYPE_CHECKING:
    from tests.simulation.world import World

LIMITS = "limits of queues"
"""The name of what decides whether there are any, in a world."""
_KEYS = 8
_RATES = tuple(map(Rate.parse, ("20/s", "60/s", "200/s", "600/m")))


class Limiter:
    """Of one world. client: makes one for a queue."""

    def __init__(self, world: World, client: Any) -> None:
        self._world = world
        self._client = client
        self.is_there = world.dice.roll(LIMITS) < 0.4

    def key(self, order: str) -> str | None:
        """Of an order, None where it has none."""
        dice = self._world.dice
        if not self.is_there or dice.roll(f"{order} has no key") < 0.1:
            return None
        return f"c{dice.whole(0, _KEYS, f'{order} key')}"

    def begin(self) -> None:
        """Some queues have limits from the first on."""
        for queue in self._world.settings.queues if self.is_there else ():
            at_once = self._world.dice.pick((0, 1, 1, 2), f"{queue} at once")
            if at_once:
                changes = {"per_key": "k", "at_once": at_once}
                self._world.run_apart("operator", self._set(queue, changes))

    def act(self, act: str, queue: str) -> None:
        """Set something for a while, in a storm."""
        world = self._world
        dice = world.dice
        kind = dice.pick(("rate", "in flight", "in flight", "keys", "key rate"), f"{act} is")
        fault = f"limit:{act}:{kind}"
        if not world.faults.happens(fault, 1.1):
            return
        lifts: dict[str, Any] = {}
        match kind:
            case "rate":
                changes: dict[str, Any] = {"rate": dice.pick(_RATES, f"{fault}:rate")}
                changes["burst"] = dice.pick((1, 2, 10), f"{fault}:burst")
                lifts = {"rate": None}
            case "in flight":
                changes = {"in_flight": dice.pick((1, 2, 5, 20), f"{fault}:many")}
                lifts = {"in_flight": None}
            case "keys":
                at_once = dice.pick((1, 1, 2), f"{fault}:at once")
                changes = {"per_key": "k", "at_once": at_once, "key_rate": None}
            case _:
                changes = {"per_key": "k", "key_rate": Rate(10, "s"), "key_burst": 2}
                lifts = {"per_key": None}
        seconds = dice.skewed(0.3, 10, f"{fault}:for")
        world.run_apart("operator", self._set_for(queue, changes, seconds, lifts))

    def find_rolled_back(self, queue: str) -> None:
        """What holds up a whole fleet was lifted before, maybe, and is there again."""
        if self.is_there:
            lifts = {"rate": None, "in_flight": None}
            self._world.run_apart("operator", self._set_for(queue, {}, 5.0, lifts))

    async def _set_for(
        self, queue: str, changes: dict[str, Any], seconds: float, lifts: dict[str, Any]
    ) -> None:
        """For so long; then lift these."""
        if changes:
            await self._set(queue, changes)
        await asyncio.sleep(seconds)
        if lifts:
            await self._set(queue, lifts)

    async def _set(self, queue: str, changes: dict[str, Any]) -> None:
        operator = Operator(self._client(queue), queue, self._world.url)
        while True:
            try:
                _, now = await operator.set_limits(changes, "a test")
            except QueueUnavailable:
                await asyncio.sleep(0.1)
                continue
            self._world.history.add("limited", queue=queue, **_told(now))
            return


def _told(limits: Limits) -> dict[str, Any]:
    told: dict[str, Any] = {"in_flight": limits.in_flight, "at_once": limits.at_once}
    if limits.rate:
        told["rate"] = 1000 * limits.rate.count / UNITS[limits.rate.per]
        told["burst"] = limits.largest_burst
    if limits.key_rate:
        told["key_rate"] = 1000 * limits.key_rate.count / UNITS[limits.key_rate.per]
        told["key_burst"] = limits.largest_key_burst
    return told
