"""Orders that operators hold, release and cancel by their ids."""

from __future__ import annotations

import pytest

from fulfillment_worker.core.exchange import Begin, Queue, Verdict
from fulfillment_worker.core.limits import Rate
from fulfillment_worker.core.outcome import (
    Dead,
    DeadReason,
    Fulfilled,
    Outcome,
    Postponed,
    Requeued,
    Retried,
    Withdrawal,
    Withdrawn,
)
from tests.conformance.conftest import MAX_ORPHANINGS, Bench
from tests.conformance.test_queue import Hand, hand, order

__all__ = ["hand"]

HOUR = 3_600_000
ENDS: list[Outcome] = [
    Withdrawn(1, "A", 1),
    Retried(1, "A", 1, "no luck", HOUR),
    Requeued(1, "A", 1),
    Postponed(1, "A", 1, "later", HOUR, 0),
]


async def test_hold_before_arrival_keeps_the_order_until_its_release(
    bench: Bench, hand: Hand
) -> None:
    await bench.hold("A")
    bench.push(order("A"), order("B"))
    first, second = await hand.claim(2)
    assert first.begun == ""
    assert second.begun in ("", "B")
    assert await hand.begin(first, "A") is Verdict.HELD
    assert bench.status("A") == "held"
    survey = await hand.survey()
    assert (survey.held, survey.retrying, survey.in_flight) == (1, 0, 1)
    assert await hand.claim(5) == []
    await bench.let_go("A")
    assert bench.status("A") == "retrying"
    (again,) = await hand.claim(5)
    assert (again.raw, again.failures, again.orphanings) == (order("A"), 0, 0)
    assert again.order_id == "A"
    assert await hand.begin(again, "A") is Verdict.GO


async def test_cancel_before_arrival_ends_the_order_and_its_copies(
    bench: Bench, hand: Hand
) -> None:
    """Invariant 3: a cancelled order is final."""
    await bench.cancel("A")
    bench.push(order("A"), order("A"))
    first, copy = await hand.claim(2)
    assert await hand.begin(first, "A") is Verdict.CANCELLED
    assert await hand.begin(copy, "A") is Verdict.DUPLICATE
    assert bench.status("A") == "cancelled"
    await bench.hold("A")
    await bench.let_go("A")
    assert bench.status("A") == "cancelled"
    survey = await hand.survey()
    assert (survey.cancelled, survey.duplicates, survey.received) == (1, 1, 2)
    assert bench.known_ids() == []


async def test_release_takes_back_what_has_not_taken_effect(bench: Bench, hand: Hand) -> None:
    await bench.cancel("A")
    await bench.let_go("A")
    bench.push(order("A"))
    (claimed,) = await hand.claim()
    assert claimed.begun == "A"


async def test_cancel_is_not_undone_by_a_hold(bench: Bench, hand: Hand) -> None:
    """Two operators at once: what can't be undone was asked for first, and stays."""
    await bench.cancel("A")
    await bench.hold("A")
    bench.push(order("A"))
    (claimed,) = await hand.claim()
    assert await hand.begin(claimed, "A") is Verdict.CANCELLED


async def test_cancel_takes_the_place_of_a_hold(bench: Bench, hand: Hand) -> None:
    await bench.hold("A")
    await bench.cancel("A")
    bench.push(order("A"))
    (claimed,) = await hand.claim()
    assert await hand.begin(claimed, "A") is Verdict.CANCELLED


@pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)
@pytest.mark.parametrize("became", list(Withdrawal))
async def test_wish_overtakes_whatever_a_stopped_attempt_ends_as(
    bench: Bench, hand: Hand, end: Outcome, became: Withdrawal
) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    assert claimed.delivery == end.delivery
    await (bench.hold("A") if became is Withdrawal.HELD else bench.cancel("A"))
    told = await hand.say()
    assert told.stops == {claimed.delivery: became}
    assert bench.status("A") == "processing"
    again = await hand.say()
    assert again.stops == told.stops, "it is told until the attempt has ended"
    ended = await hand.say(outcomes=[end])
    assert (ended.obeyed, ended.stops) == ({claimed.delivery: became}, {})
    assert bench.status("A") == str(became)
    survey = await hand.survey()
    is_held = became is Withdrawal.HELD
    assert (survey.held, survey.cancelled) == (int(is_held), int(not is_held))
    assert (survey.in_flight, survey.retrying, survey.scheduled) == (0, 0, 0)
    await bench.let_go("A")
    back = await hand.claim(5)
    assert [each.failures for each in back] == ([isinstance(end, Retried)] if is_held else [])


@pytest.mark.parametrize("note", ["", '{"parcel": 7}'])
async def test_success_comes_before_a_wish_and_leaves_none_of_it(
    bench: Bench, hand: Hand, note: str
) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    await bench.cancel("A")
    reply = await hand.say(outcomes=[Fulfilled(claimed.delivery, "A", 1, note)])
    assert (reply.obeyed, reply.stops) == ({}, {})
    assert bench.status("A") == "fulfilled"
    bench.push(order("A"))
    (copy,) = await hand.claim()
    assert await hand.begin(copy, "A") is Verdict.DUPLICATE
    survey = await hand.survey()
    assert (survey.fulfilled, survey.cancelled, survey.duplicates) == (1, 0, 1)


async def test_wish_that_is_taken_back_leaves_a_stopped_attempt_to_be_made_again(
    bench: Bench, hand: Hand
) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    await bench.hold("A")
    assert (await hand.say()).stops
    await bench.let_go("A")
    reply = await hand.say()
    assert reply.stops == {}
    reply = await hand.say(outcomes=[Withdrawn(claimed.delivery, "A", 1)])
    assert reply.obeyed == {}
    assert bench.status("A") == "retrying"
    (again,) = await hand.claim()
    assert again.failures == 0


async def test_last_failure_of_a_cancelled_order_makes_no_dead_letter(
    bench: Bench, hand: Hand
) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    await bench.cancel("A")
    dead = Dead(claimed.delivery, "A", 1, "no luck", DeadReason.ATTEMPTS_EXHAUSTED)
    await hand.say(outcomes=[dead])
    assert bench.status("A") == "cancelled"
    assert bench.dead() == []
    assert (await hand.survey()).cancelled == 1


async def test_hold_of_an_order_that_dies_waits_for_its_retry(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    await bench.hold("A")
    reply = await hand.say(outcomes=[Dead(claimed.delivery, "A", 1, "no", DeadReason.REJECTED)])
    assert reply.obeyed == {}
    assert bench.status("A") == "dead"
    assert (await hand.survey()).dead == 1


async def test_cancelled_dead_order_is_no_dead_letter_any_more(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"), order("B"))
    for order_id in "AB":
        claimed = await hand.take(order_id)
        dead = Dead(claimed.delivery, order_id, 1, "no", DeadReason.REJECTED)
        await hand.say(outcomes=[dead])
    await bench.cancel("A")
    assert bench.status("A") == "cancelled"
    assert bench.dead() == [("rejected", order("B"))]
    survey = await hand.survey()
    assert (survey.dead, survey.cancelled) == (1, 1)


async def test_cancelled_held_order_is_held_no_more(bench: Bench, hand: Hand) -> None:
    await bench.hold("A")
    bench.push(order("A"), order("A"))
    for claimed in await hand.claim(2):
        assert await hand.begin(claimed, "A") is Verdict.HELD
    assert (await hand.survey()).held == 2
    await bench.cancel("A")
    survey = await hand.survey()
    assert (survey.held, survey.cancelled) == (0, 2)
    assert await hand.claim(5) == []
    assert bench.known_ids() == []


async def test_released_copies_of_an_order_run_one_after_the_other(
    bench: Bench, hand: Hand
) -> None:
    """Invariant 2: never at the same time."""
    await bench.hold("A")
    bench.push(order("A"), order("A"))
    for claimed in await hand.claim(2):
        await hand.begin(claimed, "A")
    await bench.let_go("A")
    first, copy = await hand.claim(5)
    assert await hand.begin(first, "A") is Verdict.GO
    assert await hand.begin(copy, "A") is Verdict.BUSY
    await hand.say(outcomes=[Fulfilled(first.delivery, "A", 1)], forget=[first.delivery])
    assert (await hand.survey()).unaccounted == 0


async def test_wish_for_an_order_outlives_the_worker_that_has_it(
    bench: Bench, queue: Queue
) -> None:
    """A hold that meets a retry: the orphan is held when its turn comes."""
    hand, other = Hand(queue, "w1"), Hand(queue, "w2")
    bench.push(order("A"))
    await hand.take("A")
    await bench.hold("A")
    released = await queue.release("w1")
    assert released.recovered == 1
    (orphan,) = await other.claim(5)
    assert orphan.orphanings == 1
    assert await other.begin(orphan, "A") is Verdict.HELD
    assert (await other.survey()).held == 1
    await bench.let_go("A")
    (again,) = await other.claim(5)
    assert again.orphanings == 1, "it has been through what it has been through"


async def test_wish_for_an_order_that_waits_to_begin_meets_it_at_the_gate(
    bench: Bench, hand: Hand
) -> None:
    bench.push(b'{"order_id": "C", "name": "\xc3\xa9"}')
    (claimed,) = await hand.claim()
    assert claimed.begun == ""
    await bench.cancel("C")
    assert await hand.begin(claimed, "C") is Verdict.CANCELLED


async def test_wishes_of_others_are_not_told(bench: Bench, queue: Queue) -> None:
    hand, other = Hand(queue, "w1"), Hand(queue, "w2")
    bench.push(order("A"), order("B"))
    await hand.take("A")
    held = await other.take("B")
    await bench.hold("B")
    assert (await hand.say()).stops == {}
    assert (await other.say()).stops == {held.delivery: Withdrawal.HELD}


async def test_question_what_is_held_finds_no_withdrawn_order(bench: Bench, hand: Hand) -> None:
    """The reply to the exchange with its outcome was lost."""
    bench.push(order("A"))
    claimed = await hand.take("A")
    await bench.hold("A")
    await hand.say(outcomes=[Withdrawn(claimed.delivery, "A", 1)])
    holdings = await hand.ask_holdings({claimed.delivery})
    assert holdings.deliveries == frozenset()


async def test_hold_survives_copies_that_come_and_go(bench: Bench, hand: Hand) -> None:
    """A copy that can't be read, or dies unbegun, leaves the order held."""
    await bench.hold("A")
    bench.push(order("A"))
    (claimed,) = await hand.claim()
    await hand.begin(claimed, "A")
    bench.push(order("A"))
    (copy,) = await hand.claim()
    await hand.say(outcomes=[Dead(copy.delivery, "A", 0, "too large", DeadReason.INVALID)])
    assert bench.status("A") == "held"
    survey = await hand.survey()
    assert (survey.held, survey.dead) == (1, 1)


async def test_orphaned_copy_of_a_held_order_that_is_quarantined_leaves_it_held(
    bench: Bench, queue: Queue
) -> None:
    """Else nobody would find it by its id any more, and it could not be released."""
    hand = Hand(queue)
    await bench.hold("A")
    bench.push(order("A"))
    (claimed,) = await hand.claim()
    await hand.begin(claimed, "A")
    bench.push(order("A"))
    for number in range(MAX_ORPHANINGS):
        one = Hand(queue, f"one-{number}")
        assert len(await one.claim(5)) == 1
        await queue.release(one.name)
    assert bench.status("A") == "held"
    assert bench.dead() == [("orphaned", order("A"))]
    await bench.let_go("A")
    assert len(await hand.claim(5)) == 1


@pytest.mark.parametrize("act", ["release", "cancel"])
async def test_many_copies_of_a_held_order_are_all_let_go_or_cancelled(
    bench: Bench, hand: Hand, act: str
) -> None:
    """No function moves more of them than keep Redis busy for some milliseconds."""
    many = 1200
    await bench.hold("A")
    bench.push(*[order("A")] * many)
    held = 0
    while held < many:
        claimed = await hand.claim(500)
        asked = [Begin(each.delivery, "A", 1, each.first_seen) for each in claimed]
        reply = await hand.say(begins=asked)
        assert set(reply.verdicts) == {Verdict.HELD}
        hand.held.clear()
        held += len(claimed)
    assert (await hand.survey()).held == many
    await (bench.let_go("A") if act == "release" else bench.cancel("A"))
    survey = await hand.survey()
    counts = (survey.held, survey.retrying, survey.cancelled)
    assert counts == ((0, many, 0) if act == "release" else (0, 0, many))


async def test_withdrawn_orders_use_up_no_limit_and_free_their_key(
    bench: Bench, queue: Queue
) -> None:
    hand, other = Hand(queue, "w1"), Hand(queue, "w2")
    await bench.limit(per_key="customer", at_once=1, rate=Rate(60, "h"), burst=2)
    await bench.hold("1")
    for number in (0, 1, 2):
        bench.push(b'{"order_id": "%d", "customer": 7}' % number)
    (first,) = await hand.claim(5)
    assert first.begun == "0"
    await bench.cancel("0")
    assert (await hand.say()).stops == {first.delivery: Withdrawal.CANCELLED}
    await hand.say(outcomes=[Withdrawn(first.delivery, "0", 1)])
    (second,) = await other.claim(5)
    assert await other.begin(second, "1") is Verdict.HELD
    (third,) = await other.claim(5)
    assert third.begun == "2" or await other.begin(third, "2") is Verdict.GO
    survey = await other.survey()
    assert (survey.cancelled, survey.held, survey.in_flight, survey.retrying) == (1, 1, 1, 0)
