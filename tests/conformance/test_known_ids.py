"""The id of an order whose attempt began: kept with it, however its bytes are read later."""

from __future__ import annotations

import pytest

from fulfillment_worker.core.exchange import Queue, Verdict
from fulfillment_worker.core.outcome import Dead, DeadReason, Fulfilled, Requeued, Retried
from tests.conformance.conftest import LEASE_MS, MAX_ORPHANINGS, Bench
from tests.conformance.test_queue import Hand, order


@pytest.fixture
def hand(queue: Queue) -> Hand:
    return Hand(queue)


async def test_retry_brings_the_id_and_the_end_forgets_it(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    first = await hand.take("A")
    assert first.order_id == "", "nobody has begun it before"
    await hand.say(outcomes=[Retried(first.delivery, "A", 1, "oh", 0)])
    (again,) = await hand.claim()
    assert again.order_id == "A"
    assert await hand.begin(again, "A") is Verdict.GO
    ended = Fulfilled(again.delivery, "A", 2)
    await hand.say(outcomes=[ended], forget=[again.delivery])
    assert bench.known_ids() == []


async def test_requeue_brings_the_id_and_a_dead_letter_forgets_it(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    first = await hand.take("A")
    await hand.say(outcomes=[Requeued(first.delivery, "A", 1)])
    (again,) = await hand.claim()
    assert again.order_id == "A"
    await hand.say(outcomes=[Requeued(again.delivery, "", 1)])
    (again,) = await hand.claim()
    assert again.order_id == "A", "it was given back before it began again"
    await hand.say(outcomes=[Dead(again.delivery, "A", 1, "no", DeadReason.REJECTED)])
    assert bench.known_ids() == []


@pytest.mark.parametrize(
    ("raw", "order_id"),
    [
        (b'{"original":{"order_id":7},"order_id":102}', "102"),
        (b'{"order_id":102,"replaces":{"order_id":103}}', "102"),
        (b'{"a":{"order_id":9007199254740993},"order_id":9007199254740992}', "9007199254740992"),
        (b'{"note":"party \\ud83d","order_id":"A-1"}', "A-1"),
        (b'{"note":"party \\ud83d","x":[{"order_id":"A-0"}],"order_id":12}', "12"),
    ],
)
async def test_orphan_is_known_by_the_id_under_which_it_began(
    bench: Bench, queue: Queue, raw: bytes, order_id: str
) -> None:
    """Redis reads such bytes otherwise than a worker does, or not at all."""
    bench.push(raw)
    for n in range(MAX_ORPHANINGS):
        victim = Hand(queue, f"victim-{n}")
        (claimed,) = await victim.claim()
        assert claimed.order_id == ("" if n == 0 else order_id)
        assert await victim.begin(claimed, order_id) is Verdict.GO
        await bench.pass_time(LEASE_MS + 20)
        await Hand(queue, f"reaper-{n}").say()
    assert [reason for reason, _ in bench.dead()] == ["orphaned"]
    assert bench.status(order_id) == "dead"
    assert bench.known_ids() == []


async def test_orphan_keeps_its_id_where_the_field_was_changed(bench: Bench) -> None:
    bench.push(b'{"order_id":"A","number":"7"}')
    await Hand(bench.queue(), "before").take("A")
    after = Hand(bench.queue(id_field="number"), "after")
    await after.say()
    await bench.pass_time(LEASE_MS + 20)
    await after.say()
    assert bench.status("A") == "retrying"
    (claimed,) = await after.claim()
    assert claimed.order_id == "A"


async def test_worker_that_asks_what_it_holds_learns_the_ids(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"), order("B"))
    first = await hand.take("A")
    await hand.say(outcomes=[Retried(first.delivery, "A", 1, "oh", 0)])
    await hand.claim(2)
    holdings = await hand.ask_holdings([])
    assert [claimed.order_id for claimed in holdings.unknown] == ["A", ""]
