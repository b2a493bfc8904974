"""The demo's storefront: places orders on the public list, as any producer would."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from itertools import islice

import msgspec

from fulfillment_worker.admin.producer import Producer
from fulfillment_worker.admin.sample_orders import samples
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.demo.shop import FATE, Fate, fates
from fulfillment_worker.demo.tally import Tally

_RUBBISH = b'<?xml version="1.0"?><order id="A-1001"/>'
_RUBBISH_WITHIN = 25
_MOST_AT_ONCE = 500
"""Orders in one command, should the storefront be behind its rate."""
_PAUSE = 0.2
"""Seconds before it knocks again at a Redis that is away."""


class DemoOrder(msgspec.Struct, frozen=True):
    """What is put on the list. id: of the order, "" for the rubbish."""

    id: str
    raw: bytes


def entries(seed: int, orders: int | None, id_field: str) -> Iterator[DemoOrder]:
    """The storefront's entries; without end where `orders` is None. One of them is rubbish.

    The same seed gives the same entries but for their time.
    """
    rubbish = _place_of_rubbish(seed, orders)
    pairs = zip(samples(seed, id_field), fates(seed), strict=True)
    for number, (body, fate) in enumerate(islice(pairs, orders), 1):
        if number == rubbish:
            yield DemoOrder("", _RUBBISH)
            continue
        if fate is not Fate.PLAIN:
            body[FATE] = fate
        yield DemoOrder(body[id_field], msgspec.json.encode(body))


def _place_of_rubbish(seed: int, orders: int | None) -> int | None:
    """Never the first, and early, so that nobody has to wait for it."""
    last = min(orders or _RUBBISH_WITHIN, _RUBBISH_WITHIN)
    return random.Random(f"rubbish of {seed}").randint(2, last) if last > 1 else None


class Storefront:
    """Places entries at a rate until there are no more, or it is closed.

    rate: orders per second. An outage of Redis is waited out, and made up for afterwards.
    """

    def __init__(
        self, producer: Producer, entries: Iterator[DemoOrder], rate: float, tally: Tally
    ) -> None:
        self._producer = producer
        self._entries = entries
        self._rate = rate
        self._tally = tally
        self._closed = asyncio.Event()
        self._offered = 0

    def close(self) -> None:
        """Place no more. Idempotent."""
        self._closed.set()

    async def run(self) -> None:
        """Place the entries."""
        loop = asyncio.get_running_loop()
        opened = loop.time()
        while not self._closed.is_set():
            # The first is due at once.
            due = 1 + int((loop.time() - opened) * self._rate) - self._offered
            if due <= 0:
                await self._closed_within(opened + self._offered / self._rate - loop.time())
                continue
            batch = list(islice(self._entries, min(due, _MOST_AT_ONCE)))
            if not batch:
                return
            self._offered += len(batch)
            await self._place(batch)

    async def _place(self, batch: list[DemoOrder]) -> None:
        """Place a batch. After a failure nobody knows whether it arrived: the same orders again
        do no harm, since an id is fulfilled only once."""
        # Told before it is done: an order may be fulfilled before Redis confirms that it is there.
        self._tally.placing(entry.id for entry in batch)
        while not self._closed.is_set():
            try:
                await self._producer.enqueue(entry.raw for entry in batch)
            except QueueUnavailable:
                await self._closed_within(_PAUSE)
            else:
                self._tally.placed_all(len(batch))
                return
        self._tally.withdrawn(entry.id for entry in batch)

    async def _closed_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._closed.wait()
        except TimeoutError:
            return
