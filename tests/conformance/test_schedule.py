"""Orders that wait for a time by somebody's wish."""

from __future__ import annotations

from fulfillment_worker.core.exchange import Queue, Verdict
from fulfillment_worker.core.outcome import (
    Dead,
    DeadReason,
    Fulfilled,
    Postponed,
    Retried,
    Scheduled,
)
from tests.conformance.conftest import Bench
from tests.conformance.test_queue import Hand, hand, order

__all__ = ["hand"]

HOUR = 3_600_000


async def test_postponed_order_comes_back_in_time_with_no_attempt_used(
    bench: Bench, hand: Hand
) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    postponed = Postponed(claimed.delivery, "A", 1, "out of stock", HOUR, 0)
    reply = await hand.say(outcomes=[postponed])
    assert bench.status("A") == "postponed"
    assert reply.next_due is not None
    assert HOUR - 50 <= reply.next_due - reply.now <= HOUR
    survey = await hand.survey()
    assert (survey.scheduled, survey.retrying, survey.in_flight) == (1, 0, 0)
    assert await hand.claim(5) == []
    await bench.pass_time(HOUR + 10)
    (again,) = await hand.claim(5)
    assert (again.raw, again.failures, again.orphanings) == (order("A"), 0, 0)
    assert again.order_id == "A"
    assert await hand.begin(again, "A") is Verdict.GO
    await hand.say(outcomes=[Fulfilled(again.delivery, "A", 1)], forget=[again.delivery])
    survey = await hand.survey()
    assert (survey.scheduled, survey.fulfilled) == (0, 1)
    assert bench.known_ids() == []


async def test_postponed_order_keeps_its_failures(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    await hand.say(outcomes=[Retried(claimed.delivery, "A", 1, "no luck", 0)])
    again = await hand.take("A")
    await hand.say(outcomes=[Postponed(again.delivery, "A", 2, "later", HOUR, 0)])
    await bench.pass_time(HOUR + 10)
    (last,) = await hand.claim()
    assert last.failures == 1


async def test_postponed_until_a_time_that_is_past_comes_back_at_once(
    bench: Bench, hand: Hand
) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    await hand.say(outcomes=[Postponed(claimed.delivery, "A", 1, "", -1, 1000)])
    (again,) = await hand.claim()
    assert again.raw == order("A")


async def test_postponed_order_comes_back_when_it_may_not_get_older(bench: Bench) -> None:
    hand = Hand(bench.queue(max_age=HOUR))
    bench.push(order("A"))
    claimed = await hand.take("A")
    reply = await hand.say(outcomes=[Postponed(claimed.delivery, "A", 1, "", 24 * HOUR, 0)])
    assert reply.next_due == claimed.first_seen + HOUR


async def test_scheduled_order_starts_at_its_time(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    # Its time is read by the worker, so it has not begun.
    (claimed,) = (await hand.say(claim=9)).claimed
    at = claimed.first_seen + HOUR
    reply = await hand.say(outcomes=[Scheduled(claimed.delivery, "A", 1, at)])
    assert reply.next_due == at
    assert (await hand.survey()).scheduled == 1
    await bench.pass_time(HOUR + 10)
    (again,) = await hand.claim()
    assert await hand.begin(again, "A") is Verdict.GO


async def test_scheduled_copy_leaves_the_status_of_a_fulfilled_order_alone(
    bench: Bench, hand: Hand
) -> None:
    bench.push(order("A"))
    first = await hand.take("A")
    await hand.say(outcomes=[Fulfilled(first.delivery, "A", 1)])
    bench.push(order("A"))
    (copy,) = await hand.claim()
    await hand.say(outcomes=[Scheduled(copy.delivery, "A", 1, copy.first_seen + HOUR)])
    assert bench.status("A") == "fulfilled"
    await bench.pass_time(HOUR + 10)
    (again,) = await hand.claim()
    assert await hand.begin(again, "A") is Verdict.DUPLICATE


async def test_scheduled_orders_come_back_in_the_order_of_their_times(
    bench: Bench, hand: Hand
) -> None:
    for number in range(20):
        bench.push(order(number))
        claimed = await hand.take(str(number))
        delay = HOUR - 1000 * number
        await hand.say(outcomes=[Postponed(claimed.delivery, str(number), 1, "", delay, 0)])
    await bench.pass_time(HOUR + 10)
    back = [claimed.raw for claimed in await hand.claim(50)]
    assert back == [order(number) for number in reversed(range(20))]


async def test_large_scheduled_orders_come_back_a_few_at_a_time(bench: Bench, hand: Hand) -> None:
    """No exchange moves more bytes than keep Redis busy for some milliseconds."""
    large = b'{"order_id": "%d", "x": "' + b"x" * 300_000 + b'"}'
    for number in range(4):
        bench.push(large % number)
        claimed = await hand.take(str(number))
        await hand.say(outcomes=[Postponed(claimed.delivery, str(number), 1, "", HOUR, 0)])
    await bench.pass_time(HOUR + 10)
    back = 0
    for _ in range(8):
        back += len(await hand.claim(4))
    assert back == 4
    assert (await hand.survey()).scheduled == 0


async def test_orders_postponed_by_a_worker_that_dies_are_nobodys_orphans(
    bench: Bench, queue: Queue
) -> None:
    hand, other = Hand(queue, "w1"), Hand(queue, "w2")
    bench.push(order("A"))
    claimed = await hand.take("A")
    await hand.say(outcomes=[Postponed(claimed.delivery, "A", 1, "", HOUR, 0)])
    released = await queue.release("w1")
    assert released.recovered == 0
    assert (await other.survey()).scheduled == 1


async def test_dead_copy_that_has_not_begun_leaves_a_fulfilled_order_fulfilled(
    bench: Bench, hand: Hand
) -> None:
    """It was postponed, and by the time it comes back its bytes are too many, say."""
    bench.push(order("A"))
    first = await hand.take("A")
    await hand.say(outcomes=[Postponed(first.delivery, "A", 1, "", HOUR, 0)])
    bench.push(order("A"))
    copy = await hand.take("A")
    await hand.say(outcomes=[Fulfilled(copy.delivery, "A", 1)])
    await bench.pass_time(HOUR + 10)
    (again,) = await hand.claim()
    assert again.order_id == "A"
    dead = Dead(again.delivery, "A", 0, "too large", DeadReason.INVALID)
    await hand.say(outcomes=[dead])
    assert bench.status("A") == "fulfilled"
    assert bench.dead() == [("invalid", order("A"))]
    assert (await hand.survey()).dead == 1


async def test_many_orders_of_one_time_come_back_over_several_exchanges(
    bench: Bench, hand: Hand
) -> None:
    bench.push(*(order(number) for number in range(1200)))
    claimed = await hand.claim(1200)
    claimed += await hand.claim(1200)
    at = claimed[0].first_seen + HOUR
    assert len(claimed) == 1200
    await hand.say(
        outcomes=[Scheduled(each.delivery, each.raw[14:-2].decode(), 1, at) for each in claimed]
    )
    await bench.pass_time(HOUR + 10)
    back = 0
    for _ in range(6):
        back += len(await hand.claim(1200))
    assert back == 1200
    assert (await hand.survey()).scheduled == 0
