"""Leases that Redis has lost, and steps of its clock (invariants 1 and 2)."""

from __future__ import annotations

import pytest

from fulfillment_worker.core.exchange import Queue
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
    assert not (await hand.queue.holdings(hand.name, hand.held)).lease_lost
    hand.trips += 1
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
