"""What was seen last stays, and is asked for no more often than need be."""

from __future__ import annotations

import asyncio

from fulfillment_worker.console.remembered import Remembered
from fulfillment_worker.core.exchange import QueueUnavailable
from tests.support.eventually import aeventually


class Source:
    """Answers with how often it was asked, or fails."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.gate: asyncio.Event | None = None

    async def __call__(self) -> int:
        self.asked += 1
        if self.gate:
            await self.gate.wait()
        if self.fails:
            raise QueueUnavailable("Redis is away")
        return self.asked


async def test_remembered_is_read_once_for_many_viewers() -> None:
    source = Source()
    remembered = Remembered(source, fresh=1000)
    seen = await asyncio.gather(*(remembered.get() for _ in range(5)))
    assert [each.value for each in seen] == [1] * 5
    assert seen[0].fault == ""
    assert seen[0].at > 0


async def test_remembered_is_read_anew_when_it_is_old() -> None:
    remembered = Remembered(Source(), fresh=0)

    async def is_read_again() -> bool:
        return (await remembered.get()).value != 1

    found: bool = await aeventually(is_read_again, what="it is read again")
    assert found


async def test_remembered_is_read_anew_after_a_change() -> None:
    source = Source()
    remembered = Remembered(source, fresh=1000)
    await remembered.get()
    remembered.forget()
    assert (await remembered.get()).value == 2


async def test_remembered_outlives_an_outage() -> None:
    source = Source()
    remembered = Remembered(source, fresh=1000)
    before = await remembered.get()
    source.fails = True
    remembered.forget()
    during = await remembered.get()
    assert (during.value, during.at, during.fault) == (before.value, before.at, "Redis is away")
    source.fails = False
    remembered.forget()
    assert (await remembered.get()).fault == ""


async def test_remembered_knows_nothing_where_nothing_was_ever_read() -> None:
    source = Source()
    source.fails = True
    seen = await Remembered(source).get()
    assert (seen.value, seen.at, seen.fault) == (None, 0, "Redis is away")


async def test_remembered_asks_nothing_longer_where_the_first_question_fails() -> None:
    first, source = Source(), Source()
    before = Remembered(first, fresh=0)
    remembered = Remembered(source, fresh=0, first=before)
    known = await remembered.get()
    first.fails = True
    before.forget()
    seen = await remembered.get()
    assert (seen.value, seen.at, seen.fault) == (known.value, known.at, "Redis is away")
    assert source.asked == 1


async def test_remembered_waits_for_a_silent_redis_no_longer_than_its_patience() -> None:
    source = Source()
    source.gate = asyncio.Event()
    remembered = Remembered(source, fresh=1000, patience=0.01)
    seen = await asyncio.gather(*(remembered.get() for _ in range(5)))
    assert {each.fault for each in seen} == {"Redis gave no answer within 0.01 s"}
    assert source.asked == 1
