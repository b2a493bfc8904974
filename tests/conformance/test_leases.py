"""Leases that Redis has lost, and steps of its clock (invariants 1 and 2)."""

from __future__ import annotations

import pytest

from fulfillment_worker.core.exchange import Exchange, Queue, Verdict
from fulfillment_worker.core.outcome import Fulfilled, Retried
from tests.conformance.conftest import LEASE_MS, Bench
from tests.conformance.test_queue import Hand, order

STEPS = [30_000, -30_000, 3_600_000, -3_600_000]


@pytest.fixture
def hand(queue: Queue) -> Hand:
    return Hand(queue)


async def test_lost_lease_costs_a_worker_that_lives_nothing(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    bench.lose_leases()
    assert not (await hand.ask_holdings(hand.held)).lease_lost
    hand.exchanges = hand.asked
    bench.lose_leases()
    reply = await hand.say(outcomes=[Fulfilled(claimed.delivery, "A", 1)])
    assert not reply.lease_lost
    assert bench.status("A") == "fulfilled"


async def test_lost_lease_of_a_worker_that_is_gone_is_found(bench: Bench, queue: Queue) -> None:
    bench.push(order("A"))
    await Hand(queue, "victim").take("A")
    bench.lose_leases()
    other = Hand(queue, "other")
    await other.survey()
    await bench.pass_time(LEASE_MS + 20)
    assert (await other.say()).recovered == 1
    await other.take("A")


@pytest.mark.parametrize("ms", STEPS)
async def test_step_of_the_clock_costs_nobody_a_lease(bench: Bench, queue: Queue, ms: int) -> None:
    bench.push(order("A"), order("B"))
    holder, other = Hand(queue, "holder"), Hand(queue, "other")
    claimed = await holder.take("A")
    await other.say()
    for _ in range(3):
        bench.step_clock(ms)
        assert (await other.say()).recovered == 0
        assert not (await holder.say()).lease_lost
    reply = await holder.say(outcomes=[Fulfilled(claimed.delivery, "A", 1)])
    assert not reply.lease_lost
    assert bench.status("A") == "fulfilled"


@pytest.mark.parametrize("ms", STEPS)
async def test_step_of_the_clock_delays_no_recovery(bench: Bench, queue: Queue, ms: int) -> None:
    bench.push(order("A"))
    await Hand(queue, "victim").take("A")
    other = Hand(queue, "other")
    await other.say()
    bench.step_clock(ms)
    assert (await other.say()).recovered == 0
    await bench.pass_time(LEASE_MS + 20)
    assert (await other.say()).recovered == 1


@pytest.mark.parametrize("ms", STEPS)
async def test_step_of_the_clock_moves_no_retry(bench: Bench, hand: Hand, ms: int) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    await hand.say(outcomes=[Retried(claimed.delivery, "A", 1, "oh", 300_000)])
    bench.step_clock(ms)
    reply = await hand.say(claim=1)
    assert not reply.claimed, "not before its time"
    assert reply.next_due is not None
    assert reply.next_due - reply.now <= 300_000
    await bench.pass_time(300_020)
    (again,) = await hand.claim()
    assert again.order_id == "A"


@pytest.mark.parametrize("ms", STEPS)
async def test_step_of_the_clock_before_a_worker_starts_costs_nobody_a_lease(
    bench: Bench, queue: Queue, ms: int
) -> None:
    """A new worker knows nothing of the time before it: those who do have a lease to say so."""
    bench.push(order("A"))
    holder = Hand(queue, "holder")
    await holder.take("A")
    await bench.pass_time(2000)
    bench.step_clock(ms)
    new = Hand(bench.queue(), "new")
    for _ in range(3):
        assert (await new.say()).recovered == 0
        await bench.pass_time(2000)
    assert not (await holder.say()).lease_lost
    assert (await new.say()).recovered == 0


async def test_new_worker_recovers_the_orders_of_a_fleet_that_is_gone(
    bench: Bench, queue: Queue
) -> None:
    bench.push(order("A"))
    await Hand(queue, "gone").take("A")
    await bench.pass_time(LEASE_MS + 20)
    new = Hand(bench.queue(), "new")
    first = await new.say()
    assert first.recovered or first.now < (first.next_due or 0) <= first.now + LEASE_MS + 20
    await bench.pass_time(LEASE_MS + 20)
    assert first.recovered + (await new.say()).recovered == 1


async def test_new_worker_leaves_a_lost_lease_to_those_who_know(bench: Bench, queue: Queue) -> None:
    """They need not wait for it."""
    bench.push(order("A"))
    await Hand(queue, "victim").take("A")
    old = Hand(bench.queue(), "old")
    await old.say()
    await bench.pass_time(LEASE_MS // 2)
    recovered = (await Hand(bench.queue(), "new").say()).recovered
    await bench.pass_time(LEASE_MS // 2 + 20)
    assert recovered == 0
    assert (await old.say()).recovered == 1


@pytest.mark.parametrize("ms", STEPS)
async def test_step_of_the_clock_costs_no_lease_of_who_was_never_answered(
    bench: Bench, queue: Queue, ms: int
) -> None:
    """The reply to its first exchange was lost, so it knows nothing of the time before."""
    bench.push(order("A"))
    (claimed,) = (await queue.exchange(Exchange(worker="w1", claim=1))).claimed
    bench.step_clock(ms)
    hand = Hand(bench.queue(), "w1")
    holdings = await hand.ask_holdings([])
    assert not holdings.lease_lost
    assert [each.delivery for each in holdings.unknown] == [claimed.delivery]
    hand.exchanges, hand.held = holdings.number, {claimed.delivery}
    bench.step_clock(ms)
    assert await hand.begin(claimed, "A") is Verdict.GO


@pytest.mark.parametrize("delay", [2_000, 40_000])
async def test_step_of_the_clock_costs_no_lease_where_exchanges_are_slow(
    bench: Bench, queue: Queue, delay: int
) -> None:
    """The step may be as long as such an exchange was under way, or hide behind it."""
    bench.push(order("A"))
    holder, slow = Hand(queue, "holder"), Hand(bench.queue(), "slow")
    await holder.take("A")
    await slow.say()
    await bench.pass_time(LEASE_MS - 1500)
    bench.delay_last_exchange(slow.queue, delay)
    bench.step_clock(30_000)
    assert (await slow.say()).recovered == 0
    assert not (await holder.say()).lease_lost


@pytest.mark.parametrize("ms", STEPS)
async def test_step_of_the_clock_costs_no_lease_of_who_asks_what_it_holds(
    bench: Bench, hand: Hand, ms: int
) -> None:
    """After a lost reply, the question comes before any exchange could tell of the step."""
    bench.push(order("A"))
    claimed = await hand.take("A")
    bench.step_clock(ms)
    holdings = await hand.ask_holdings(hand.held)
    assert not holdings.lease_lost
    hand.exchanges = holdings.number
    reply = await hand.say(outcomes=[Fulfilled(claimed.delivery, "A", 1)])
    assert not reply.lease_lost


@pytest.mark.parametrize("ms", STEPS)
async def test_step_of_the_clock_in_the_first_second_of_a_worker_moves_no_retry(
    bench: Bench, queue: Queue, ms: int
) -> None:
    """Nobody had been heard for a while when it started."""
    await Hand(queue, "gone").say()
    await bench.pass_time(5000)
    bench.push(order("A"))
    new = Hand(bench.queue(), "new")
    claimed = await new.take("A")
    await new.say(outcomes=[Retried(claimed.delivery, "A", 1, "oh", 300_000)])
    bench.step_clock(ms)
    assert not (await new.say(claim=1)).claimed, "not before its time"
    await bench.pass_time(300_020)
    assert len(await new.claim()) == 1
