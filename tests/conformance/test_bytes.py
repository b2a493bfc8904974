"""What one exchange moves is bounded by bytes, not only by orders."""

from __future__ import annotations

import pytest

from fulfillment_worker.core.exchange import LARGE, MOST_BYTES, Claimed, Exchange, Queue
from fulfillment_worker.core.outcome import Requeued
from tests.conformance.conftest import MAX_ORDER_BYTES, Bench
from tests.conformance.test_queue import Hand, order, rung


def sized(n: int, size: int) -> bytes:
    start = b'{"order_id": "%d", "pad": "' % n
    return start + b"x" * (size - len(start) - 2) + b'"}'


THIRD = MOST_BYTES // 3 + 1


@pytest.fixture
def hand(queue: Queue) -> Hand:
    return Hand(queue)


def numbers(claimed: list[Claimed]) -> list[int]:
    return [int(each.raw.split(b'"')[3]) for each in claimed]


async def test_claim_ends_where_the_bytes_of_an_exchange_are_reached(
    bench: Bench, hand: Hand
) -> None:
    bench.push(*(sized(n, THIRD) for n in range(1, 6)))
    reply = await hand.say(claim=50)
    assert (numbers(reply.claimed), reply.backlog) == ([1, 2, 3], True)
    reply = await hand.say(claim=50)
    assert (numbers(reply.claimed), reply.backlog) == ([4, 5], False)


async def test_claim_of_due_retries_ends_where_the_bytes_of_an_exchange_are_reached(
    bench: Bench, hand: Hand
) -> None:
    bench.push(*(sized(n, THIRD) for n in range(1, 6)))
    claimed = await hand.claim(50) + await hand.claim(50)
    await hand.say(outcomes=[Requeued(each.delivery, "", 1) for each in claimed])
    assert [len(await hand.claim(50)) for _ in range(3)] == [3, 2, 0]


async def test_claim_takes_one_order_where_hardly_any_bytes_are_asked_for(
    bench: Bench, hand: Hand
) -> None:
    bench.push(order(1), order(2))
    assert len((await hand.say(claim=50, most_bytes=1)).claimed) == 1


async def test_claim_of_small_orders_is_bounded_by_their_number_alone(
    bench: Bench, hand: Hand
) -> None:
    bench.push(*(order(n) for n in range(200)))
    assert numbers(await hand.claim(150)) == list(range(150))
    assert numbers(await hand.claim(150)) == list(range(150, 200))


async def test_claim_among_orders_of_all_sizes_keeps_their_order(bench: Bench, hand: Hand) -> None:
    sizes = [80, 80, 300_000, 80, *[90] * 20, 500_000, 80, 200_000, *[100] * 70]
    bench.push(*(sized(n, size) for n, size in enumerate(sizes)))
    claimed: list[int] = []
    while len(claimed) < len(sizes):
        claimed += numbers(await hand.claim(50))
    assert claimed == list(range(len(sizes)))


async def test_oversized_order_is_a_dead_letter_and_is_never_sent(bench: Bench, hand: Hand) -> None:
    huge = sized(1, MAX_ORDER_BYTES + 1)
    bench.push(huge, order(2))
    reply = await hand.say(claim=50)
    assert (reply.claimed, reply.first_claims) == ([], 0)
    assert (reply.oversized, reply.backlog) == ([len(huge)], True)
    assert bench.dead() == [("invalid", huge)]
    assert [each.raw for each in await hand.claim(50)] == [order(2)]
    survey = await hand.survey()
    assert (survey.received, survey.dead, survey.in_flight) == (2, 1, 1)


async def test_order_of_the_largest_size_is_claimed(bench: Bench, hand: Hand) -> None:
    bench.push(sized(1, MAX_ORDER_BYTES))
    assert numbers(await hand.claim()) == [1]


async def test_lost_reply_gives_back_what_was_large(bench: Bench, hand: Hand) -> None:
    bench.push(order(1), sized(2, LARGE), sized(3, LARGE), order(4))
    await hand.queue.exchange(Exchange(worker=hand.name, claim=4))
    holdings = await hand.ask_holdings([])
    assert numbers(holdings.unknown) == [1, 4]
    assert holdings.deliveries == {1, 4}
    assert (holdings.given_back, holdings.first_claims) == (2, 2)
    hand.held, hand.exchanges, hand.next = {1, 4}, holdings.number, 5
    assert numbers(await hand.claim(4)) == [2, 3]
    assert (await hand.survey()).received == 4


async def test_lost_reply_puts_off_what_was_large_as_long_as_asked_for(
    bench: Bench, hand: Hand
) -> None:
    bench.push(sized(1, LARGE + 1), order(2))
    await hand.queue.exchange(Exchange(worker=hand.name, claim=1))
    holdings = await hand.ask_holdings([], 300_000)
    hand.exchanges, hand.next = holdings.number, 2
    assert numbers(await hand.claim(4)) == [2]
    await bench.pass_time(300_010)
    assert numbers(await hand.claim(4)) == [1]


async def test_exchange_that_stands_by_leaves_a_large_order_to_the_next(
    bench: Bench, hand: Hand
) -> None:
    ring = await rung(bench, hand, sized(1, LARGE + 1))
    assert ring.reply is not None
    assert (ring.reply.claimed, ring.reply.backlog) == ([], True)
    hand.exchanges = 1
    assert numbers(await hand.claim()) == [1]
