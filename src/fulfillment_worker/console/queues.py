"""What the console asks of queues and does to them, by the operators' tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from fulfillment_worker.admin.inspector import Inspector
from fulfillment_worker.admin.operator import Act, Operator
from fulfillment_worker.admin.redis_client import open_client
from fulfillment_worker.admin.rules import wishes
from fulfillment_worker.admin.rules.causes import Cause, DeadLetter, grouped
from fulfillment_worker.admin.rules.wishes import Deed
from fulfillment_worker.admin.running import Running, running
from fulfillment_worker.admin.whereabouts import OrderLocation
from fulfillment_worker.admin.withdrawals import Withdrawals
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.console.records import Letter, Letters, Located, State
from fulfillment_worker.console.remembered import Remembered, Seen
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.embedded.reachable import reachable

T = TypeVar("T")

MOST_LETTERS = 20_000
"""Dead letters that are read to group them by cause; an act on a group reads all."""
MOST_ACTS = 200
MOST_BYTES = 8 * 1024**2
"""Of a dead letter that is shown."""
_MOST_ORDERS = 500
"""Orders that are remembered, for those who look at them."""
_LONG = 15.0
"""Seconds for what reads a whole queue."""
_NOT_FOUND_YET = "Many orders wait, and it was not found among them"
_STOPPING = 5.0
"""Seconds to wait for the end of an attempt that an act stops."""


def needed(seen: Seen[T]) -> T:
    """What an act is decided by: it must be new. Raises QueueUnavailable."""
    if seen.value is None or seen.fault:
        raise QueueUnavailable(seen.fault)
    return seen.value


class WatchedQueue:
    """One queue; what is seen of it is remembered."""

    def __init__(self, client: Any, name: str, settings: Settings) -> None:
        self.name = name
        self._client = client
        self._settings = settings
        self.inspector = Inspector(client, name, settings.redis_url, id_field=settings.id_field)
        self._reader = self._operator()
        self.state = Remembered(self._read_state)
        # While Redis is silent, only the first question waits for it.
        self.letters = Remembered(self._read_letters, fresh=2.0, patience=_LONG, first=self.state)
        self.running = Remembered(self._read_running, first=self.state)
        self.acts: Remembered[list[Act]] = Remembered(
            lambda: self._reader.acts(MOST_ACTS), first=self.state
        )

    def _operator(self, by: str = "", why: str = "") -> Operator:
        return Operator(self._client, self.name, self._settings.redis_url, by=by, why=why)

    async def _read_state(self) -> State:
        overview = await self.inspector.overview()
        return State(overview, await self.inspector.standing(overview))

    async def _read_letters(self) -> Letters:
        letters: list[DeadLetter] = []
        complete = True
        async for letter in self._reader.letters():
            if len(letters) == MOST_LETTERS:
                complete = False
                break
            letters.append(letter)
        letters.sort(key=lambda letter: (letter.at, letter.number), reverse=True)
        return Letters(letters, grouped(letters), complete)

    async def _read_running(self) -> Running:
        url, id_field = self._settings.redis_url, self._settings.id_field
        return await running(self._client, self.name, url, id_field)

    async def letter(self, number: int) -> Letter | None:
        """A dead letter with its bytes, unless these are huge. Raises QueueUnavailable."""
        letters = needed(await self.letters.get())
        for each in letters.letters:
            if each.number == number and each.size > MOST_BYTES:
                return Letter(each, None, [], "")
        letter = await self._reader.letter(number)
        raw = await self._reader.read(number) if letter else None
        if letter is None or raw is None:
            return None
        order_id = letter.order_id
        history, traceback = await self._reader.history(order_id) if order_id else ([], "")
        return Letter(letter, raw, history, traceback)

    async def numbers_of(self, cause: Cause) -> list[int]:
        """All dead letters with this cause, the first first. Raises QueueUnavailable."""
        return sorted([each.number async for each in self._reader.letters() if each.cause == cause])

    async def has_status(self, order_id: str) -> bool:
        """Whether a status tells where the order is. Raises QueueUnavailable."""
        ((status, _),) = await self._reader.statuses([order_id])
        return status != ""

    async def letters_of(self, order_id: str) -> list[DeadLetter]:
        """Of one order; all letters are read only where it isn't among those read lately.

        Raises QueueUnavailable.
        """
        lately = (await self.letters.get()).value
        found = [each for each in lately.letters if each.order_id == order_id] if lately else []
        return found or [letter async for letter in self._reader.letters([order_id])]

    async def work_on_letters(
        self, act: str, numbers: list[int], *, by: str, why: str, order_id: str = ""
    ) -> int:
        """Retry or drop dead letters; returns how many. Raises QueueUnavailable."""
        done: list[int] = []
        operator = self._operator(by, why)
        work = operator.retry_dead if act == "retry" else operator.drop_dead
        await work(numbers, done.extend, order_id)
        self.forget()
        return len(done)

    async def switch(self, act: str, *, by: str, why: str) -> bool:
        """Pause or resume it; returns whether that is new. Raises QueueUnavailable."""
        operator = self._operator(by, why)
        changed = await (operator.pause() if act == "pause" else operator.resume())
        self.forget()
        return changed

    async def withdraw(self, act: str, order_id: str, *, by: str, why: str) -> Deed:
        """Hold, release or cancel an order. Raises QueueUnavailable."""
        operator = self._operator(by, why)
        withdrawals = Withdrawals(operator, self.inspector, self._settings.status_ttl)
        (deed,) = await withdrawals.act(wishes.Act(act), [order_id], _STOPPING)
        self.forget()
        return deed

    def forget(self) -> None:
        """Something has just been changed."""
        for each in (self.state, self.letters, self.running, self.acts):
            each.forget()


@dataclass
class Queues:
    """All queues, in the order of preference."""

    each: dict[str, WatchedQueue]

    def __post_init__(self) -> None:
        self._orders: dict[str, Remembered[Located]] = {}
        self._searching = asyncio.Lock()

    async def states(self) -> dict[str, Seen[State]]:
        """How each stands."""
        return {name: await queue.state.get() for name, queue in self.each.items()}

    async def order(self, order_id: str) -> Seen[Located]:
        """Where an order is. One without a record is searched for, by one viewer at a time."""
        remembered = self._orders.pop(order_id, None)
        if remembered is None:
            remembered = Remembered(
                lambda: self._locate(order_id),
                patience=_LONG,
                late=_NOT_FOUND_YET,
                first=next(iter(self.each.values())).state,
            )
        self._orders[order_id] = remembered  # Those that nobody asks for any more go first.
        while len(self._orders) > _MOST_ORDERS:
            del self._orders[next(iter(self._orders))]
        return await remembered.get()

    def forget_order(self, order_id: str) -> None:
        """Something has just been done to it."""
        self._orders.pop(order_id, None)

    async def _locate(self, order_id: str) -> Located:
        queues = list(self.each.values())
        known = [queue for queue in queues if await queue.has_status(order_id)]
        if known:
            return await _found(known, order_id)
        async with self._searching:
            return await _found(queues, order_id)


async def _found(queues: list[WatchedQueue], order_id: str) -> Located:
    """In the first queue that has it; else in one where something is wished for it."""
    wished: OrderLocation | None = None
    for queue in queues:
        found = (await queue.inspector.find([order_id])).get(order_id)
        if found and found.status != "unknown":
            letters = await queue.letters_of(order_id) if found.status == "dead" else []
            return Located(found, letters)
        wished = wished or found
    return Located(wished)


@asynccontextmanager
async def watched(settings: Settings) -> AsyncIterator[Queues]:
    """The queues of these settings; Redis needn't be there yet.

    Raises QueueUnavailable where an embedded server can't be started.
    """
    async with reachable(settings.redis_url) as address:
        client = open_client(address)
        try:
            yield Queues({name: WatchedQueue(client, name, settings) for name in settings.queues})
        finally:
            await client.aclose()
