"""Who uses the queues: producers and operators, each at random moments."""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.core.exchange import QueueUnavailable
from tests.simulation.limits import Limiter

if TYPE_CHECKING:
    from tests.simulation.world import World

_FINAL = ("fulfilled", "cancelled")
_SETTLED = (*_FINAL, "held")
WITHDRAWS = "wishes"
"""The name of what decides whether they do, in a world."""
_RUBBISH = (b"", b"rubbish", b"{}", b"[1]", b'{"order_id": null}', b'{"order_id": {}}', b"\xff\xfe")


class Operators:
    """Producers, who place orders all the time, and operators, who act in storms."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._placed: list[tuple[str, bytes, str]] = []
        self._rate = world.dice.skewed(0.5, 40, "rate")
        # How many are about to resume each queue.
        self._resuming = dict.fromkeys(world.settings.queues, 0)
        self.limiter = Limiter(world, self._client)
        self._withdraws = world.dice.roll(WITHDRAWS) < 0.5
        # The orders that were ever held, by their queues.
        self._held: dict[str, set[str]] = {queue: set() for queue in world.settings.queues}

    def begin(self) -> None:
        """Start to place orders."""
        self.limiter.begin()
        self._next()

    def _next(self) -> None:
        world = self._world
        number = len(self._placed)
        dice = world.dice
        gap = -math.log(1 - dice.roll(f"gap {number}")) / self._rate
        rate_in_calm = 1.0 if world.faults.storm else 3.0
        world.timeline.after(min(gap * rate_in_calm, 3.0), self._place)

    def _place(self) -> None:
        world = self._world
        if not world.takes_orders:
            return
        dice, number = world.dice, len(self._placed)
        queue = dice.pick(world.settings.queues, f"queue {number}")
        for _ in range(self._many(f"burst {number}")):
            self._place_one(queue, f"o{len(self._placed)}")
        if self._placed and dice.roll(f"copy {number}") < 0.06:
            queue, body, order = dice.pick(self._placed, f"copy {number} of")
            world.enqueue(queue, body, order)
        if dice.roll(f"rubbish {number}") < 0.02:
            world.enqueue(queue, dice.pick(_RUBBISH, f"rubbish {number} is"), None)
        if world.faults.storm and dice.roll(f"act {number}") < 0.05:
            self._act(f"{number}", queue)
        if self._withdraws and world.faults.storm and dice.roll(f"withdraw {number}") < 0.3:
            self._withdraw(f"{number}")
        if self.limiter.is_there and world.faults.storm and dice.roll(f"limit {number}") < 0.1:
            self.limiter.act(f"limit {number}", queue)
        self._next()

    def _many(self, burst: str) -> int:
        """How many orders come at once: one, nearly always."""
        dice = self._world.dice
        if dice.roll(burst) >= 0.03:
            return 1
        return dice.whole(2, 30, f"{burst} size") if dice.roll(f"{burst} is small") < 0.8 else 150

    def _place_one(self, queue: str, order: str) -> None:
        dice = self._world.dice
        body: dict[str, Any] = {"order_id": order}
        if dice.roll(f"{order} is large") < 0.02:
            body["note"] = "x" * int(dice.skewed(1000, 200_000, f"{order} size"))
        if dice.roll(f"{order} says when") < 0.3:
            body["enqueued_at"] = 4_102_444_800 + self._world.timeline.now
        if key := self.limiter.key(order):
            body["k"] = key
        raw = json.dumps(body).encode()
        self._placed.append((queue, raw, order))
        self._world.enqueue(queue, raw, order)

    # --- operators ----------------------------------------------------------------------------

    def find_rolled_back(self, queue: str) -> None:
        """Redis came back with older data. A queue that is paused there is resumed once more, and
        what is held there is released.
        """
        world = self._world
        self.limiter.find_rolled_back(queue)
        for order in sorted(self._held[queue]):
            seconds = world.dice.skewed(0.05, 4, f"{order} released after {world.timeline.now:.6f}")
            world.run_apart("operator", self._release(queue, order, seconds))
        (paused,) = world.server.control.ask(("HGET", f"{{{queue}}}:books", "paused"))
        if paused != b"1" or self._resuming[queue]:
            return
        seconds = world.dice.skewed(0.05, 4, f"{queue} resumed after {world.timeline.now:.6f}")
        operator = Operator(self._client(queue), queue, world.url)
        world.run_apart("operator", self._resume(operator, queue, seconds))

    def _act(self, act: str, queue: str) -> None:
        world = self._world
        kind = world.dice.pick(("pause", "retry", "retry", "drop", "delete"), f"act {act} is")
        fault = f"act:{act}:{kind}"
        if not world.faults.happens(fault, 1.1):
            return
        if kind == "delete":
            world.delete(queue)
        elif kind == "pause":
            world.run_apart(
                "operator", self._pause(queue, world.dice.skewed(0.05, 4, f"{fault}:for"))
            )
        else:
            world.run_apart("operator", self._move(queue, kind, fault))

    async def _pause(self, queue: str, seconds: float) -> None:
        operator = Operator(self._client(queue), queue, self._world.url)
        if await self._done(operator.pause()):
            self._world.history.add("paused", queue=queue)
        await self._resume(operator, queue, seconds)

    async def _resume(self, operator: Operator, queue: str, seconds: float) -> None:
        self._resuming[queue] += 1
        await asyncio.sleep(seconds)
        while not await self._done(operator.resume()):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
        self._resuming[queue] -= 1
        self._world.history.add("resumed", queue=queue)

    def _withdraw(self, act: str) -> None:
        """Hold or cancel an order: one of the last that were placed, or of the next to be."""
        world = self._world
        dice, placed = world.dice, self._placed
        kind = dice.pick(("hold", "cancel"), f"withdraw {act} is")
        fault = f"withdraw:{act}:{kind}"
        if not world.faults.happens(fault, 1.1):
            return
        number = max(0, len(placed) - dice.whole(-3, 8, f"{fault}:which"))
        queue = dice.pick(world.settings.queues, f"{fault}:queue")
        if number < len(placed):
            queue = placed[number][0]
        order, moving = f"o{number}", self._moving()
        if moving and dice.roll(f"{fault}:moves") < 0.7:
            queue, order = dice.pick(moving, f"{fault}:of them")
        seconds = dice.skewed(0.05, 6, f"{fault}:for")
        act_on = self._hold if kind == "hold" else self._cancel
        world.run_apart("operator", act_on(queue, order, seconds))

    def _moving(self) -> list[tuple[str, str]]:
        """Those of the last orders that are being handled, or are to be again."""
        last = [(queue, order) for queue, _, order in self._placed[-30:]]
        asked = [("HGET", f"{{{queue}}}:order:{order}", "status") for queue, order in last]
        told = self._world.server.control.ask(*asked) if asked else []
        moves = (b"processing", b"retrying")
        return [each for each, status in zip(last, told, strict=True) if status in moves]

    async def _hold(self, queue: str, order: str, seconds: float) -> None:
        client = self._client(queue)
        client.is_quiet = True
        self._held[queue].add(order)
        try:
            said = await Operator(client, queue, self._world.url).hold(order)
        except QueueUnavailable:
            return
        if said.was not in _SETTLED and said.wish != "cancel":
            self._world.history.add("asked", queue=queue, order=order, act="hold")
        client.look()
        await self._release(queue, order, seconds)

    async def _cancel(self, queue: str, order: str, _: float) -> None:
        client = self._client(queue)
        operator = Operator(client, queue, self._world.url)
        try:
            letters = [letter.number async for letter in operator.letters([order])]
            client.is_quiet = True
            said = await operator.cancel(order, 1000 * 3600, letters)
        except QueueUnavailable:
            return
        if said.was not in _FINAL:
            dead = said.many if said.was != "held" else 0
            self._world.history.add("asked", queue=queue, order=order, act="cancel", dead=dead)
        client.look()

    async def _release(self, queue: str, order: str, seconds: float) -> None:
        """Until it is done: nothing may be held at the end. A cancellation is left alone."""
        client = self._client(queue)
        client.is_quiet = True
        operator = Operator(client, queue, self._world.url)
        await asyncio.sleep(seconds)
        while True:
            try:
                ((_, wish),) = await operator.statuses([order])
                if wish == "cancel":
                    return
                said = await operator.release(order)
            except QueueUnavailable:
                await asyncio.sleep(0.1)
                continue
            if said.was == "held" or said.wish:
                self._world.history.add("asked", queue=queue, order=order, act="release")
            client.look()
            return

    async def _move(self, queue: str, kind: str, fault: str) -> None:
        """Retry or drop some dead letters."""
        client = self._client(queue)
        operator = Operator(client, queue, self._world.url)
        try:
            letters = [letter async for letter in operator.letters()]
        except QueueUnavailable:
            return
        letters.sort(key=lambda letter: letter.number)
        some = [each for each in letters if self._world.dice.roll(f"{fault}:{each.number}") < 0.7]
        moved = {letter.number: letter.order_id for letter in some}

        def told(numbers: list[int]) -> None:
            event = "retried" if kind == "retry" else "dropped"
            for number in numbers:
                order = moved[number] or None
                self._world.history.add(event, queue=queue, order=order)

        client.is_quiet = True
        move = operator.retry_dead if kind == "retry" else operator.drop_dead
        await self._done(move(list(moved), told))
        client.look()

    async def _done(self, asked: Any) -> bool:
        try:
            await asked
        except QueueUnavailable:
            return False
        return True

    def _client(self, queue: str) -> Any:
        return _Client(self._world, queue)


class _Client:
    """As much of a client as an Operator needs: it asks the server at once.

    is_quiet: the world looks at the queue only when `look` is called.
    """

    def __init__(self, world: World, queue: str) -> None:
        self._world = world
        self._queue = queue
        self.is_quiet = False

    async def execute_command(self, *command: Any) -> Any:
        """See redis.asyncio.Redis."""
        network = self._world.network
        if network.refuses:
            raise ConnectionRefusedError(111, "Connection refused")
        # redis-py takes both words of such a command as one.
        (reply,) = network.ask((*str(command[0]).split(), *command[1:]))
        if self.is_quiet:
            network.settle()
            network.pump()
        else:
            self.look()
        if isinstance(reply, Exception):
            raise ResponseError(str(reply))
        return reply

    async def hget(self, name: str, field: str) -> Any:
        """See redis.asyncio.Redis."""
        return await self.execute_command("HGET", name, field)

    def pipeline(self, *, transaction: bool) -> _Pipeline:
        """See redis.asyncio.Redis."""
        assert not transaction
        return _Pipeline(self._world)

    def look(self) -> None:
        """See what has come of it."""
        self._world.network.look_around("operator", self._queue)


class _Pipeline:
    """As much of one as tells the statuses of orders."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._commands: list[tuple[Any, ...]] = []

    def hmget(self, name: str, *fields: str) -> None:
        """See redis.asyncio.Redis."""
        self._commands.append(("HMGET", name, *fields))

    async def execute(self) -> list[Any]:
        """See redis.asyncio.Redis."""
        network = self._world.network
        if network.refuses:
            raise ConnectionRefusedError(111, "Connection refused")
        replies = list(network.ask(*self._commands))
        for reply in replies:
            if isinstance(reply, Exception):
                raise ResponseError(str(reply))
        return replies
