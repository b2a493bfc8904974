"""Limits of the fleet: what may start, and what waits, over all workers of a queue."""

from __future__ import annotations

import pytest

from fulfillment_worker.core.exchange import Limited, LimitUse, Queue, Verdict
from fulfillment_worker.core.limits import Rate
from fulfillment_worker.core.outcome import (
    Dead,
    DeadReason,
    Fulfilled,
    Outcome,
    Postponed,
    Requeued,
    Retried,
)
from tests.conformance.conftest import LEASE_MS, Bench
from tests.conformance.test_queue import Hand, hand, order

__all__ = ["hand"]

HOUR = 3_600_000
HOURLY = Rate(60, "h")
MINUTE = HOUR // 60


def of(key: object, number: object) -> bytes:
    """An order with a key."""
    told = f'"{key}"' if isinstance(key, str) else key
    return f'{{"order_id": "{number}", "customer": {{"id": {told}}}}}'.encode()


async def start(hand: Hand, many: int = 1, rounds: int = 4) -> list[str]:
    """Claim so many, and begin all that may; the ids of those that start."""
    started: list[str] = []
    for _ in range(rounds if many else 0):
        for claimed in await hand.claim(many - len(started)):
            order_id = claimed.begun or claimed.raw.split(b'"')[3].decode()
            if claimed.begun or await hand.begin(claimed, order_id) is Verdict.GO:
                started.append(order_id)
        if len(started) == many:
            break
    return started


# --- a rate -----------------------------------------------------------------------------------


async def test_rate_lets_so_many_start_and_the_others_wait(bench: Bench, hand: Hand) -> None:
    await bench.limit(rate=HOURLY, burst=3)
    bench.push(*map(order, range(10)))
    assert await start(hand, 10) == ["0", "1", "2"]
    reply = await hand.say(claim=5)
    assert (reply.claimed, reply.backlog, reply.limited) == ([], False, Limited.REACHED)
    assert reply.next_due is not None
    assert MINUTE - 1000 <= reply.next_due - reply.now <= MINUTE + 1
    await bench.pass_time(MINUTE + 10)
    assert await start(hand, 10) == ["3"]
    await bench.pass_time(9 * MINUTE)
    assert await start(hand, 10) == ["4", "5", "6"], "no more than the burst at once"


async def test_rate_is_one_for_all_workers(bench: Bench, queue: Queue) -> None:
    await bench.limit(rate=HOURLY, burst=2)
    bench.push(*map(order, range(10)))
    one, other = Hand(queue, "w1"), Hand(queue, "w2")
    assert await start(one) + await start(other) + await start(one, 5) == ["0", "1"]


async def test_rate_counts_an_attempt_when_it_starts_and_not_when_it_is_claimed(
    bench: Bench, queue: Queue
) -> None:
    """Orders that Redis can't read beyond doubt are claimed first, and ask."""
    await bench.limit(rate=HOURLY, burst=2)
    bench.push(*(b'{"order_id": "%d", "note": "\\u00e9"}' % number for number in range(6)))
    hands = [Hand(queue, f"w{number}") for number in range(3)]
    claimed = [(await hand.claim(2)) for hand in hands]
    assert [len(each) for each in claimed] == [2, 2, 2]
    verdicts = [
        await hand.begin(each, each.raw.split(b'"')[3].decode())
        for hand, two in zip(hands, claimed, strict=True)
        for each in two
    ]
    assert verdicts == [Verdict.GO] * 2 + [Verdict.LIMITED] * 4
    survey = await hands[0].survey()
    assert (survey.in_flight, survey.retrying) == (2, 4)
    reply = await hands[1].say(claim=5)
    assert reply.claimed == []
    await bench.pass_time(MINUTE + 10)
    assert len(await start(hands[2], 5)) == 1


async def test_rate_counts_retries(bench: Bench, hand: Hand) -> None:
    await bench.limit(rate=HOURLY, burst=2)
    bench.push(order("A"))
    claimed = await hand.take_begun()
    await hand.say(outcomes=[Retried(claimed.delivery, "A", 1, "no luck", 0)])
    assert await start(hand) == ["A"]
    (held,) = hand.held
    await hand.say(outcomes=[Retried(held, "A", 2, "no luck", 0)])
    assert await start(hand) == []
    await bench.pass_time(MINUTE + 10)
    assert await start(hand) == ["A"]


async def test_rate_that_is_lifted_lets_all_start(bench: Bench, hand: Hand) -> None:
    await bench.limit(rate=HOURLY)
    bench.push(*map(order, range(5)))
    assert await start(hand, 5) == ["0"]
    assert (await hand.survey()).limits.rate == HOURLY
    await bench.limit(rate=None)
    assert await start(hand, 4) == ["1", "2", "3", "4"]
    assert (await hand.say(claim=1)).limited is Limited.NO


async def test_rate_that_is_raised_takes_effect_at_once(bench: Bench, hand: Hand) -> None:
    await bench.limit(rate=Rate(1, "h"))
    bench.push(*map(order, range(5)))
    assert await start(hand, 5) == ["0"]
    await bench.limit(rate=Rate(1000, "s"), burst=1)
    await bench.pass_time(10)
    assert await start(hand, 1) == ["1"]


async def test_rate_is_not_held_up_by_a_step_of_the_clock(bench: Bench, hand: Hand) -> None:
    await bench.limit(rate=Rate(60, "m"), burst=1)
    bench.push(*map(order, range(3)))
    assert await start(hand) == ["0"]
    bench.step_clock(-HOUR)
    await hand.say()
    await bench.pass_time(1010)
    assert await start(hand) == ["1"]
    bench.step_clock(HOUR)
    await hand.say()
    assert await start(hand) == [], "nor does one let more start"


async def test_rate_says_what_is_used(bench: Bench, hand: Hand) -> None:
    await bench.limit(rate=Rate(100, "h"), burst=50)
    bench.push(*map(order, range(60)))
    await start(hand, 20)
    survey = await hand.survey()
    assert survey.limits.rate == Rate(100, "h")
    assert survey.used == LimitUse(started=20)


async def test_paused_queue_with_a_rate_stays_paused(bench: Bench, hand: Hand) -> None:
    await bench.limit(rate=HOURLY, burst=9)
    bench.push(order("A"))
    bench.pause()
    reply = await hand.say(claim=1)
    assert (reply.claimed, reply.paused) == ([], True)


# --- orders in flight -------------------------------------------------------------------------


async def test_in_flight_is_limited_over_all_workers(bench: Bench, queue: Queue) -> None:
    await bench.limit(in_flight=3)
    bench.push(*map(order, range(10)))
    one, other = Hand(queue, "w1"), Hand(queue, "w2")
    assert await start(one, 2) == ["0", "1"]
    assert await start(other, 5) == ["2"]
    reply = await other.say(claim=4)
    assert (reply.claimed, reply.backlog, reply.limited) == ([], False, Limited.REACHED)
    (first, _) = sorted(one.held)
    reply = await one.say(outcomes=[Fulfilled(first, "0", 1)], claim=2)
    assert [each.raw for each in reply.claimed] == [order(3)]


async def test_in_flight_of_a_worker_that_is_gone_is_free_again(bench: Bench, queue: Queue) -> None:
    await bench.limit(in_flight=2)
    bench.push(*map(order, range(4)))
    dead, other = Hand(queue, "w1"), Hand(queue, "w2")
    assert await start(dead, 2) == ["0", "1"]
    assert await start(other, 2) == []
    await queue.release("w1")
    assert len(await start(other, 4)) == 2
    assert (await other.survey()).in_flight == 2


async def test_in_flight_that_is_lowered_lets_what_has_not_begun_go(
    bench: Bench, hand: Hand
) -> None:
    bench.push(*(b'{"order_id": "%d", "note": "\\u00e9"}' % number for number in range(4)))
    first, *others = await hand.claim(4)
    assert await hand.begin(first, "0") is Verdict.GO
    await bench.limit(in_flight=1)
    verdicts = [await hand.begin(each, str(number)) for number, each in enumerate(others, 1)]
    assert verdicts == [Verdict.LIMITED] * 3
    survey = await hand.survey()
    assert (survey.in_flight, survey.retrying) == (1, 3)
    await hand.say(outcomes=[Fulfilled(first.delivery, "0", 1)])
    assert await start(hand, 3) == ["1"]


async def test_in_flight_that_is_reached_holds_retries_back_as_well(
    bench: Bench, queue: Queue
) -> None:
    one, other = Hand(queue, "w1"), Hand(queue, "w2")
    bench.push(order("A"), order("B"))
    claimed = await one.take_begun()
    await one.say(outcomes=[Retried(claimed.delivery, "A", 1, "no luck", 0)])
    await bench.limit(in_flight=1)
    (taken,) = await start(one)
    reply = await other.say(claim=3)
    assert (reply.claimed, reply.limited, reply.backlog) == ([], Limited.REACHED, False)
    (held,) = one.held
    await one.say(outcomes=[Fulfilled(held, taken, 1)])
    assert len(await start(other, 3)) == 1


# --- keys -------------------------------------------------------------------------------------


async def test_key_has_one_order_at_once_and_those_behind_go_on(bench: Bench, hand: Hand) -> None:
    await bench.limit(per_key="customer.id")
    bench.push(of("c-1", 1), of("c-1", 2), of("c-1", 3), of("c-2", 4), order(5))
    assert await start(hand, 9) == ["1", "4", "5"]
    survey = await hand.survey()
    assert (survey.waiting, survey.in_flight, survey.retrying) == (0, 3, 2)
    assert survey.used == LimitUse(keyed=2, parked=2)
    reply = await hand.say(claim=9)
    assert (reply.claimed, reply.backlog, reply.limited) == ([], False, Limited.YES)
    first = min(hand.held)
    await hand.say(outcomes=[Fulfilled(first, "1", 1)])
    assert await start(hand, 9) == ["2"]
    await hand.say(outcomes=[Fulfilled(max(hand.held), "2", 1)])
    assert await start(hand, 9) == ["3"]
    assert (await hand.survey()).retrying == 0


async def test_key_may_have_several_at_once(bench: Bench, queue: Queue) -> None:
    await bench.limit(per_key="customer.id", at_once=2)
    one, other = Hand(queue, "w1"), Hand(queue, "w2")
    bench.push(*(of("c-1", number) for number in range(5)))
    assert await start(one, 1) + await start(other, 4) == ["0", "1"]
    await bench.limit(at_once=4)
    assert sorted(await start(other, 4)) == ["2", "3"]


async def test_key_of_an_order_that_is_retried_is_free_meanwhile(bench: Bench, hand: Hand) -> None:
    await bench.limit(per_key="customer.id")
    bench.push(of("c-1", 1), of("c-1", 2))
    assert await start(hand, 2) == ["1"]
    (held,) = hand.held
    await hand.say(outcomes=[Retried(held, "1", 1, "no luck", MINUTE)])
    assert await start(hand, 2) == ["2"]
    await bench.pass_time(MINUTE + 10)
    assert await start(hand, 2) == [], "its retry waits for the other one"
    assert (await hand.survey()).used.parked == 1
    (held,) = hand.held
    await hand.say(outcomes=[Fulfilled(held, "2", 1)])
    (claimed,) = await hand.claim()
    assert (claimed.order_id, claimed.failures) == ("1", 1)
    assert await hand.begin(claimed, "1") is Verdict.GO


ENDS: dict[str, Outcome] = {
    "requeued": Requeued(1, "1", 1),
    "postponed": Postponed(1, "1", 1, "later", HOUR, 0),
    "retried": Retried(1, "1", 1, "no luck", HOUR),
    "dead": Dead(1, "1", 1, "no", DeadReason.REJECTED),
    "fulfilled": Fulfilled(1, "1", 1),
}


@pytest.mark.parametrize("how", [*ENDS, "released", "lost"])
async def test_key_is_free_again_however_its_order_ends(
    bench: Bench, queue: Queue, how: str
) -> None:
    """Invariant 8: who holds a key is read from what is in flight."""
    await bench.limit(per_key="customer.id")
    holder, other = Hand(queue, "w1"), Hand(queue, "w2")
    bench.push(of("c-1", 1), of("c-1", 2))
    assert (await holder.take_begun()).delivery == 1
    assert await start(other) == []
    if how in ENDS:
        await holder.say(outcomes=[ENDS[how]])
    elif how == "released":
        await queue.release("w1")
    else:
        await bench.pass_time(LEASE_MS + 10)
        await other.say()
    assert len(await start(other)) == 1, "one of the two"
    assert await start(other) == [], "and never both"


async def test_key_of_a_copy_that_is_a_duplicate_is_free(bench: Bench, queue: Queue) -> None:
    bench.push(order("1"))
    early, hand = Hand(queue, "w0"), Hand(queue, "w1")
    await early.say(outcomes=[Fulfilled((await early.take_begun()).delivery, "1", 1)])
    await bench.limit(per_key="customer.id")
    bench.push(of("c-1", 1), of("c-1", 2))
    (claimed,) = await hand.claim(2)
    assert await hand.begin(claimed, "1") is Verdict.DUPLICATE
    assert await start(hand) == ["2"]


async def test_key_that_was_given_back_after_a_lost_reply_is_free(bench: Bench, hand: Hand) -> None:
    """What is large is given back where the worker doesn't know it."""
    await bench.limit(per_key="customer.id")
    large = b'{"order_id": "1", "customer": {"id": "c-1"}, "x": "' + b"x" * 70_000 + b'"}'
    bench.push(large, of("c-1", 2))
    (claimed,) = await hand.claim(2)
    hand.held.clear()
    holdings = await hand.ask_holdings([])
    assert (holdings.given_back, claimed.raw) == (1, large)
    hand.exchanges = holdings.number
    assert len(await start(hand, 2)) == 1


async def test_key_flood_does_not_hold_up_another_key(bench: Bench, hand: Hand) -> None:
    await bench.limit(per_key="customer.id")
    bench.push(*(of("c-1", number) for number in range(2000)), of("c-2", "other"))
    started, exchanges = await start(hand), 1
    while "other" not in started:
        exchanges += 1
        started += await start(hand, 5, 1)
    assert started == ["0", "other"]
    assert exchanges <= 10
    assert (await hand.survey()).retrying == 1999


async def test_retry_that_is_claimed_beside_parked_orders_brings_its_id(
    bench: Bench, hand: Hand
) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    await hand.say(outcomes=[Retried(claimed.delivery, "A", 1, "no luck", 0)])
    await bench.limit(per_key="customer.id")
    bench.push(*(of("c-1", number) for number in range(5)))
    reply = await hand.say(claim=9)
    assert reply.first_claims == 5, "one is claimed, and four wait"
    assert {each.order_id for each in reply.claimed} == {"", "A"}
    again = next(each for each in reply.claimed if each.order_id)
    assert await hand.begin(again, "A") is Verdict.GO
    done = Fulfilled(again.delivery, "A", 2)
    await hand.say(outcomes=[done], forget=[again.delivery])
    assert bench.known_ids() == []


async def test_keys_take_turns_where_there_is_little_room(bench: Bench, hand: Hand) -> None:
    await bench.limit(per_key="customer.id", in_flight=2)
    for key in "1234":
        bench.push(*(of(f"c-{key}", f"{key}.{number}") for number in range(6)))
    turns = await start(hand, 2)
    for number in range(24):
        await bench.pass_time(1)
        await hand.say(outcomes=[Fulfilled(min(hand.held), turns[number], 1)])
        turns += await start(hand, 2 - len(hand.held))
    keys = "".join(turn[0] for turn in turns)
    assert sorted(keys) == sorted("1234" * 6)
    assert all(keys.index(key) < keys.rindex("1") for key in "234"), keys


@pytest.mark.parametrize(
    "value",
    ["null", "true", "[1]", "{}", '""', '"' + "x" * 257 + '"', '"a\\u0000b"', "1e999"],
)
async def test_order_without_a_usable_key_is_not_limited(
    bench: Bench, hand: Hand, value: str
) -> None:
    await bench.limit(per_key="k")
    raw = '{"order_id": "%d", "k": ' + value + "}"
    bench.push(*((raw % number).encode() for number in range(3)), order("3"), b"rubbish", b"[]")
    assert len(await hand.claim(9)) == 6


@pytest.mark.parametrize(
    "same", [("17", '"17"'), ("17.0", "17"), ('"\\u00e9"', '"\u00e9"'), ("1.5", "1.50")]
)
async def test_key_is_the_same_however_it_is_written(
    bench: Bench, hand: Hand, same: tuple[str, str]
) -> None:
    await bench.limit(per_key="k")
    bench.push(*(f'{{"order_id": "{i}", "k": {each}}}'.encode() for i, each in enumerate(same)))
    assert len(await hand.claim(9)) == 1


async def test_key_is_read_beside_half_an_emoji(bench: Bench, hand: Hand) -> None:
    """Legal JSON, which Redis's parser refuses."""
    await bench.limit(per_key="k")
    bench.push(*(b'{"order_id": "%d", "k": 1, "note": "\\ud83d"}' % each for each in range(2)))
    assert len(await hand.claim(9)) == 1


async def test_keys_that_are_set_count_what_is_in_flight_already(
    bench: Bench, queue: Queue
) -> None:
    one, other = Hand(queue, "w1"), Hand(queue, "w2")
    bench.push(*(of("c-1", number) for number in range(2)))
    assert await start(one) == ["0"]
    await bench.limit(per_key="customer.id")
    assert await start(other) == []
    (held,) = one.held
    await one.say(outcomes=[Fulfilled(held, "0", 1)])
    assert await start(other) == ["1"]


async def test_keys_that_are_set_hold_back_what_was_claimed_and_has_not_begun(
    bench: Bench, hand: Hand
) -> None:
    bench.push(*(b'{"order_id": "%d", "k": 1, "note": "\\u00e9"}' % number for number in range(3)))
    claimed = await hand.claim(3)
    await bench.limit(per_key="k")
    verdicts = [await hand.begin(each, str(number)) for number, each in enumerate(claimed)]
    assert sorted(verdicts) == [Verdict.GO, Verdict.LIMITED, Verdict.LIMITED]
    survey = await hand.survey()
    assert (survey.in_flight, survey.retrying, survey.used.parked) == (1, 2, 2)


@pytest.mark.parametrize("path", [None, "order_id"])
async def test_keys_that_are_changed_or_lifted_let_all_go_that_waited(
    bench: Bench, hand: Hand, path: str | None
) -> None:
    await bench.limit(per_key="customer.id")
    bench.push(*(of("c-1", number) for number in range(8)))
    assert await start(hand, 9) == ["0"]
    await bench.limit(per_key=path)
    started = await start(hand, 7, 8)
    assert sorted(started) == list("1234567")
    assert (await hand.survey()).used.parked == 0


async def test_keys_that_were_lifted_leave_nothing_behind(bench: Bench, hand: Hand) -> None:
    await bench.limit(rate=HOURLY, burst=9, per_key="customer.id", key_rate=HOURLY, at_once=1)
    bench.push(*(of("c-1", number) for number in range(4)))
    await start(hand, 4)
    await bench.limit(per_key=None, rate=None)
    started = await start(hand, 3, 8)
    assert len(started) == 3
    for delivery, each in zip(sorted(hand.held), ["0", *sorted(started)], strict=True):
        await hand.say(outcomes=[Fulfilled(delivery, each, 1)])
    await hand.say()
    assert bench.left_of_limits() == []


async def test_key_rate_lets_so_many_of_each_start(bench: Bench, hand: Hand) -> None:
    await bench.limit(per_key="customer.id", key_rate=HOURLY, key_burst=2)
    bench.push(*(of("c-1", f"1.{number}") for number in range(5)), of("c-2", "2.0"))
    assert await start(hand, 9) == ["1.0", "1.1", "2.0"]
    reply = await hand.say(claim=9)
    assert reply.claimed == []
    assert reply.next_due is not None
    assert MINUTE - 1000 <= reply.next_due - reply.now <= MINUTE + 1
    await bench.pass_time(MINUTE + 10)
    assert await start(hand, 9) == ["1.2"]
    await bench.pass_time(3 * MINUTE)
    assert await start(hand, 9) == ["1.3", "1.4"]


async def test_key_rate_and_at_once_hold_together(bench: Bench, hand: Hand) -> None:
    await bench.limit(per_key="customer.id", key_rate=HOURLY, key_burst=5, at_once=1)
    bench.push(*(of("c-1", number) for number in range(9)))
    for number in range(5):
        assert await start(hand, 9) == [str(number)]
        await hand.say(outcomes=[Fulfilled(min(hand.held), str(number), 1)])
    assert await start(hand, 9) == []
    await bench.pass_time(MINUTE + 10)
    assert await start(hand, 9) == ["5"]


async def test_parked_orders_whose_holder_vanished_are_found(bench: Bench, hand: Hand) -> None:
    """A safety net: Redis may lose a key, by eviction or by hand."""
    await bench.limit(per_key="customer.id")
    bench.push(*(of("c-1", number) for number in range(2)))
    assert await start(hand, 9) == ["0"]
    bench.lose_flight("w1")
    other = Hand(hand.queue, "w2")
    await other.say(survey=True)
    assert await start(other, 9) == ["1"]


# --- what has no limit ------------------------------------------------------------------------


async def test_queue_without_limits_says_so(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    reply = await hand.say(claim=1, survey=True)
    assert reply.limited is Limited.NO
    assert reply.survey is not None
    assert not reply.survey.limits.are_set


async def test_order_that_stands_by_obeys_the_limits(bench: Bench, hand: Hand) -> None:
    from fulfillment_worker.core.exchange import Exchange  # noqa: PLC0415

    await bench.limit(in_flight=1)
    await hand.say()
    await hand.queue.stand_by(
        Exchange(
            worker=hand.name, number=hand.exchanges + 1, claim=1, first_delivery=7, standing=True
        )
    )
    bench.push(order("A"))
    wakeup = await hand.queue.wait(5)
    assert wakeup.reply is not None
    hand.exchanges += 1
    assert (wakeup.reply.claimed, wakeup.reply.backlog) == ([], True)
    assert await start(hand) == ["A"]
