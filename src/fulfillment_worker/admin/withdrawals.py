"""Holds, releases and cancels orders by their ids, and sees what comes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from fulfillment_worker.admin.inspector import Inspector
from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.admin.rules.wishes import (
    Act,
    Deed,
    Wished,
    after_waiting,
    at_once,
    is_open,
)

_SOON = 2.0
"""Seconds within which a worker has heard of it, and its attempt has ended if it can be stopped."""
_LOOK_EVERY = 0.1
"""Seconds between two looks at an order that its worker is stopping, which takes about one."""


class Withdrawals:
    """Of one queue. Every method raises QueueUnavailable."""

    def __init__(self, operator: Operator, inspector: Inspector, status_ttl: float) -> None:
        """status_ttl: seconds for which the status of a cancelled order is kept."""
        self.queue = operator.queue
        self._operator = operator
        self._inspector = inspector
        self._status_ttl = round(status_ttl * 1000)

    async def knows(self, order_ids: Sequence[str]) -> set[str]:
        """Those of the orders that have a status here, or for which something is wished."""
        told = await self._operator.statuses(order_ids)
        return {each for each, said in zip(order_ids, told, strict=True) if any(said)}

    async def act(
        self,
        act: Act,
        order_ids: Sequence[str],
        patience: float,
        waits: Callable[[int], object] = int,
    ) -> list[Deed]:
        """patience: seconds to wait for the ends of orders that are being handled. waits: called
        with their number where that takes longer than a worker needs to hear of it.
        """
        await self._operator.try_rights()
        asked = {each: await self._ask(act, each) for each in order_ids}
        if act is Act.CANCEL:
            asked |= await self._cancel_letters(asked)
        deeds = {each: at_once(act, each, self.queue, said) for each, said in asked.items()}
        await self._find_arrived(act, deeds, asked)
        await self._wait(act, deeds, asked, patience, waits)
        return list(deeds.values())

    async def _ask(self, act: Act, order_id: str, letters: Sequence[int] = ()) -> Wished:
        match act:
            case Act.HOLD:
                return await self._operator.hold(order_id)
            case Act.CANCEL:
                return await self._operator.cancel(order_id, self._status_ttl, letters)
            case Act.RELEASE:
                return await self._operator.release(order_id)

    async def _cancel_letters(self, asked: dict[str, Wished]) -> dict[str, Wished]:
        """Cancel dead orders: their letters are looked for first, since they are numbered."""
        dead = [each for each, said in asked.items() if said.was in ("", "dead") and not said.many]
        letters: dict[str, list[int]] = {}
        if dead:
            async for letter in self._operator.letters(dead):
                letters.setdefault(letter.order_id, []).append(letter.number)
        return {each: await self._ask(Act.CANCEL, each, letters[each]) for each in letters}

    async def _find_arrived(
        self, act: Act, deeds: dict[str, Deed], asked: dict[str, Wished]
    ) -> None:
        """Of the orders without a status, those that wait are told from those yet to come."""
        unknown = [each for each, said in asked.items() if not said.was and deeds[each].is_pending]
        if not unknown or act is Act.RELEASE:
            return
        for order_id, found in (await self._inspector.find(unknown)).items():
            if found.status != "unknown":
                await self._operator.keep_wish(order_id)
                deeds[order_id] = at_once(
                    act,
                    order_id,
                    self.queue,
                    msgspec.structs.replace(asked[order_id], was=found.status),
                )

    async def _wait(
        self,
        act: Act,
        deeds: dict[str, Deed],
        asked: dict[str, Wished],
        patience: float,
        waits: Callable[[int], object],
    ) -> None:
        began, is_told = time.monotonic(), False
        left = [each for each, said in asked.items() if said.worker]
        while left:
            told = await self._operator.statuses(left)
            waited = time.monotonic() - began
            now = dict(zip(left, told, strict=True))
            left = [each for each in left if is_open(*now[each]) and waited < patience]
            for order_id in now.keys() - set(left):
                deeds[order_id] = after_waiting(
                    act, order_id, self.queue, asked[order_id].worker, *now[order_id]
                )
            if left and waited > _SOON and not is_told:
                is_told = True
                waits(len(left))
            if left:
                await asyncio.sleep(_LOOK_EVERY)


def all_done(deeds: Iterable[Deed]) -> bool:
    """Whether each order is, or will be, as was asked for."""
    return all(deed.is_done for deed in deeds)
