"""What every queue promises, whatever keeps it. The numbers are the invariants of the docs."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from fulfillment_worker.core.exchange import (
    Begin,
    Claimed,
    Exchange,
    Holdings,
    Queue,
    Reply,
    Survey,
    Verdict,
    Wakeup,
)
from fulfillment_worker.core.outcome import Dead, DeadReason, Fulfilled, Requeued, Retried
from tests.conformance.conftest import LEASE_MS, MAX_ORPHANINGS, Bench


def order(n: int | str) -> bytes:
    return b'{"order_id": "%s"}' % str(n).encode()


class Hand:
    """A worker moved by hand: it remembers what it holds, as a real one does."""

    def __init__(self, queue: Queue, name: str = "w1") -> None:
        self.queue = queue
        self.name = name
        self.held: set[int] = set()
        self.exchanges = 0
        self.next = 1
        self.suspects = 0
        self.asked = 0

    async def say(self, **said: object) -> Reply:
        claim = int(str(said.get("claim", 0)))
        exchange = Exchange(
            worker=self.name,
            number=self.exchanges + 1,
            holding=len(self.held),
            first_delivery=self.next,
            suspects=self.suspects,
            **said,  # type: ignore[arg-type]
        )
        self.next += claim
        reply = await self.queue.exchange(exchange)
        if reply.stale or reply.lease_lost:
            return reply
        self.exchanges += 1
        self.held -= {outcome.delivery for outcome in exchange.outcomes}
        self.held |= {claimed.delivery for claimed in reply.claimed}
        return reply

    async def claim(self, many: int = 1) -> list[Claimed]:
        return (await self.say(claim=many)).claimed

    async def begin(self, claimed: Claimed, order_id: str) -> Verdict:
        asked = Begin(claimed.delivery, order_id, claimed.failures + 1, claimed.first_seen)
        (verdict,) = (await self.say(begins=[asked])).verdicts
        if verdict is not Verdict.GO:
            self.held.discard(claimed.delivery)
        return verdict

    async def take(self, order_id: str) -> Claimed:
        (claimed,) = await self.claim()
        assert await self.begin(claimed, order_id) is Verdict.GO
        return claimed

    async def take_begun(self) -> Claimed:
        """One that begins as it is claimed, or is asked for."""
        (claimed,) = await self.claim()
        order_id = claimed.begun or claimed.raw.split(b'"')[3].decode()
        assert claimed.begun or await self.begin(claimed, order_id) is Verdict.GO
        return claimed

    async def ask_holdings(self, known: Collection[int], delay_ms: int = 0) -> Holdings:
        """After an exchange or a question whose reply was lost."""
        self.asked = max(self.exchanges + 1, self.asked) + 1
        return await self.queue.holdings(self.name, self.asked, known, delay_ms)

    async def survey(self) -> Survey:
        survey = (await self.say(survey=True)).survey
        assert survey is not None
        assert survey.unaccounted == 0, "invariant 5: the books balance"
        return survey


@pytest.fixture
def hand(queue: Queue) -> Hand:
    return Hand(queue)


async def test_orders_are_claimed_in_the_order_of_their_arrival(bench: Bench, hand: Hand) -> None:
    bench.push(order(1), order(2), order(3))
    assert [claimed.raw for claimed in await hand.claim(2)] == [order(1), order(2)]
    assert [claimed.raw for claimed in await hand.claim(2)] == [order(3)]
    assert await hand.claim(2) == []


async def test_a_claim_says_how_many_are_new_and_whether_more_wait(
    bench: Bench, hand: Hand
) -> None:
    bench.push(order(1), order(2), order(3))
    reply = await hand.say(claim=2)
    assert (reply.first_claims, reply.backlog) == (2, True)
    reply = await hand.say(claim=2)
    assert (reply.first_claims, reply.backlog) == (1, False)


async def test_an_order_is_fulfilled_once_and_for_ever(bench: Bench, hand: Hand) -> None:
    """Invariant 3: terminal is terminal."""
    bench.push(order("A"), order("A"))
    first, second = await hand.claim(2)
    assert await hand.begin(first, "A") is Verdict.GO
    assert bench.status("A") == "processing"
    await hand.say(outcomes=[Fulfilled(first.delivery, "A", 1)])
    assert bench.status("A") == "fulfilled"
    assert await hand.begin(second, "A") is Verdict.DUPLICATE
    assert bench.status("A") == "fulfilled"
    survey = await hand.survey()
    assert (survey.fulfilled, survey.duplicates, survey.in_flight) == (1, 1, 0)


async def test_two_copies_are_never_handled_at_once(bench: Bench, queue: Queue) -> None:
    one, other = Hand(queue, "w1"), Hand(queue, "w2")
    bench.push(order("A"), order("A"))
    first = await one.take("A")
    (second,) = await other.claim()
    assert await other.begin(second, "A") is Verdict.BUSY
    assert (await other.survey()).retrying == 1
    await one.say(outcomes=[Fulfilled(first.delivery, "A", 1)])
    await bench.pass_time(600)
    (again,) = await other.claim()
    assert await other.begin(again, "A") is Verdict.DUPLICATE


async def test_two_copies_in_one_exchange_are_never_handled_at_once(
    bench: Bench, hand: Hand
) -> None:
    bench.push(order("A"), order("A"))
    first, second = await hand.claim(2)
    begins = [Begin(held.delivery, "A", 1, held.first_seen) for held in (first, second)]
    reply = await hand.say(begins=begins)
    assert reply.verdicts == [Verdict.GO, Verdict.BUSY]


async def test_a_begin_may_be_repeated_by_the_same_delivery(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    assert await hand.begin(claimed, "A") is Verdict.GO


async def test_a_retry_comes_back_when_it_is_due_and_not_before(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    reply = await hand.say(outcomes=[Retried(claimed.delivery, "A", 1, "no luck", 300_000)])
    assert bench.status("A") == "retrying"
    assert reply.next_due is not None
    assert 299_950 <= reply.next_due - reply.now <= 300_000
    assert await hand.claim(5) == []
    await bench.pass_time(300_010)
    (again,) = await hand.claim(5)
    assert (again.raw, again.failures, again.orphanings) == (order("A"), 1, 0)
    assert await hand.begin(again, "A") is Verdict.GO
    await hand.say(outcomes=[Fulfilled(again.delivery, "A", 2)])
    assert (await hand.survey()).fulfilled == 1


async def test_orders_with_the_same_bytes_stay_two_while_they_are_retried(
    bench: Bench, hand: Hand
) -> None:
    """Invariant 1: nothing is lost, not even what looks the same."""
    bench.push(*[b'{"order_id": "A"}'] * 3)
    for claimed in await hand.claim(3):
        await hand.say(outcomes=[Requeued(claimed.delivery, "", 1)])
    assert (await hand.survey()).retrying == 3
    assert len(await hand.claim(9)) == 3


async def test_due_retries_take_at_most_half_while_new_orders_wait(
    bench: Bench, hand: Hand
) -> None:
    bench.push(*[order(n) for n in range(8)])
    for claimed in await hand.claim(8):
        await hand.say(outcomes=[Requeued(claimed.delivery, "", 1)])
    bench.push(*[order(f"new-{n}") for n in range(8)])
    raws = [claimed.raw for claimed in await hand.claim(8)]
    assert sum(b"new-" in raw for raw in raws) == 4


async def test_a_requeue_costs_no_attempt_and_keeps_the_place(bench: Bench, hand: Hand) -> None:
    """Invariant 4: an order that a shutdown interrupts loses nothing."""
    bench.push(order("A"))
    claimed = await hand.take("A")
    await hand.say(outcomes=[Requeued(claimed.delivery, "A", 1)])
    bench.push(order("B"))
    again, _ = await hand.claim(2)
    assert (again.raw, again.failures, again.orphanings) == (order("A"), 0, 0)
    assert again.first_seen == claimed.first_seen


@pytest.mark.parametrize("raw", [b"", b"\x00\xff\n 1 2", b"0 0 0 0\n", b"\n" * 3])
async def test_a_dead_letter_keeps_the_exact_bytes(bench: Bench, hand: Hand, raw: bytes) -> None:
    bench.push(raw)
    (claimed,) = await hand.claim()
    assert claimed.raw == raw
    await hand.say(outcomes=[Dead(claimed.delivery, "", 0, "no order", DeadReason.INVALID)])
    assert bench.dead() == [("invalid", raw)]
    assert (await hand.survey()).dead == 1


async def test_bytes_survive_retries_and_orphanings(bench: Bench, queue: Queue) -> None:
    raw = b'\xff\x00 1 2 3 4\n{"order_id"'
    bench.push(raw)
    (claimed,) = await Hand(queue, "gone").claim()
    await bench.pass_time(LEASE_MS + 10)
    hand = Hand(queue, "heir")
    (claimed,) = await hand.claim()
    await hand.say(outcomes=[Requeued(claimed.delivery, "", 1)])
    (claimed,) = await hand.claim()
    assert claimed.raw == raw


async def test_a_dead_order_may_be_placed_again(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    await hand.say(outcomes=[Dead(claimed.delivery, "A", 1, "no such SKU", DeadReason.REJECTED)])
    assert bench.status("A") == "dead"
    bench.push(order("A"))
    claimed = await hand.take("A")
    await hand.say(outcomes=[Fulfilled(claimed.delivery, "A", 1)])
    assert bench.status("A") == "fulfilled"


async def test_the_orders_of_a_silent_worker_go_to_another(bench: Bench, queue: Queue) -> None:
    """Invariants 1 and 4."""
    gone, heir = Hand(queue, "gone"), Hand(queue, "heir")
    bench.push(order("A"), order("B"))
    await gone.take("A")
    await gone.claim()
    assert (await heir.say(claim=5)).recovered == 0
    await bench.pass_time(LEASE_MS + 10)
    reply = await heir.say(claim=5)
    assert (reply.recovered, reply.orphaned) == (2, 0)
    assert {c.raw for c in reply.claimed} == {order("A"), order("B")}
    assert {(c.failures, c.orphanings) for c in reply.claimed} == {(0, 1)}
    await heir.survey()


async def test_a_heartbeat_keeps_the_orders(bench: Bench, queue: Queue) -> None:
    """Invariant 2: one owner."""
    alive, other = Hand(queue, "alive"), Hand(queue, "other")
    bench.push(order("A"))
    claimed = await alive.take("A")
    for _ in range(4):
        await bench.pass_time(LEASE_MS // 2)
        assert not (await alive.say()).lease_lost
        assert await other.claim() == []
    reply = await alive.say(outcomes=[Fulfilled(claimed.delivery, "A", 1)])
    assert (reply.stale, reply.lease_lost) == (False, False)
    assert bench.status("A") == "fulfilled"


@pytest.mark.parametrize("reaped", [False, True])
async def test_a_worker_whose_lease_ran_out_can_change_nothing(
    bench: Bench, queue: Queue, reaped: bool
) -> None:
    """Invariant 2: fenced, be its orders with another already or not."""
    zombie, heir = Hand(queue, "zombie"), Hand(queue, "heir")
    bench.push(order("A"), order("B"))
    claimed = await zombie.take("A")
    await bench.pass_time(LEASE_MS + 10)
    if reaped:
        await heir.claim()
    reply = await zombie.say(outcomes=[Fulfilled(claimed.delivery, "A", 1)], claim=5)
    assert reply.lease_lost
    assert reply.claimed == []
    assert bench.status("A") != "fulfilled"
    assert (await heir.survey()).fulfilled == 0


async def test_an_outcome_that_arrives_twice_counts_once(bench: Bench, hand: Hand) -> None:
    """Even where the number of orders that are held tells nothing."""
    bench.push(order("A"), order("B"))
    claimed = await hand.take("A")
    done = Fulfilled(claimed.delivery, "A", 1)
    exchange = Exchange(
        worker="w1", number=3, holding=1, outcomes=[done], claim=1, first_delivery=hand.next
    )
    assert len((await hand.queue.exchange(exchange)).claimed) == 1
    assert (await hand.queue.exchange(exchange)).stale
    assert (await Hand(hand.queue, "other").survey()).fulfilled == 1


async def test_an_order_that_outlives_its_workers_is_quarantined(
    bench: Bench, queue: Queue
) -> None:
    """Invariant 4: even one that kills its worker before it could be decoded."""
    bench.push(order("poison"))
    for life in range(3):
        (claimed,) = await Hand(queue, f"life-{life}").claim()
        assert claimed.orphanings == life
        await bench.pass_time(LEASE_MS + 10)
    reply = await Hand(queue, "heir").say(claim=1)
    assert (reply.recovered, reply.orphaned, reply.claimed) == (1, 1, [])
    assert bench.dead() == [("orphaned", order("poison"))]
    assert bench.status("poison") == "dead"
    await Hand(queue, "auditor").survey()


@pytest.mark.parametrize("released", [False, True], ids=["lease", "released"])
async def test_orphaned_copy_of_a_fulfilled_order_is_a_duplicate_and_no_dead_letter(
    bench: Bench, queue: Queue, released: bool
) -> None:
    """Invariant 3: however often its workers die before it asks to begin."""
    hand = Hand(queue, "first")
    bench.push(order("A"))
    claimed = await hand.take("A")
    await hand.say(outcomes=[Fulfilled(claimed.delivery, "A", 1)])
    bench.push(order("A"))
    await Hand(queue, "gone").claim()
    if released:
        assert (await queue.release("gone")).recovered == 1
    else:
        await bench.pass_time(LEASE_MS + 10)
    reply = await Hand(queue, "heir").say(claim=1)
    assert (reply.recovered, reply.orphaned, reply.claimed) == (int(not released), 0, [])
    assert (bench.dead(), bench.status("A")) == ([], "fulfilled")
    survey = await Hand(queue, "auditor").survey()
    assert (survey.fulfilled, survey.duplicates, survey.received) == (1, 1, 2)


async def test_the_orders_of_a_worker_that_has_ended_are_put_back_at_once(
    bench: Bench, queue: Queue
) -> None:
    """Invariants 1, 2 and 4: as the reaper would, but without waiting for the lease."""
    gone, heir = Hand(queue, "gone"), Hand(queue, "heir")
    bench.push(order("A"), order("B"))
    claimed = await gone.take("A")
    await gone.claim()
    released = await queue.release("gone")
    assert (released.recovered, released.orphaned) == (2, 0)
    assert bench.status("A") == "retrying"
    reply = await heir.say(claim=5)
    assert reply.recovered == 0, "there was nothing left to be reaped"
    assert {(c.raw, c.failures, c.orphanings) for c in reply.claimed} == {
        (order("A"), 0, 1),
        (order("B"), 0, 1),
    }
    # What it had sent before it died, and that arrives only now.
    for late in ({"outcomes": [Fulfilled(claimed.delivery, "A", 1)]}, {"claim": 5}):
        assert (await gone.say(**late)).lease_lost
    assert (await queue.release("gone")).recovered == 0
    assert (await queue.release("never-heard-of")).recovered == 0
    assert (await heir.survey()).in_flight == 2


async def test_orders_whose_worker_died_too_often_are_dead_once_released(
    bench: Bench, queue: Queue
) -> None:
    """Invariant 4: who kills its workers is found out under a supervisor too."""
    bench.push(order("A"))
    for life in range(MAX_ORPHANINGS):
        await Hand(queue, f"worker-{life}").claim()
        released = await queue.release(f"worker-{life}")
        assert (released.recovered, released.orphaned) == (1, int(life == MAX_ORPHANINGS - 1))
    assert bench.dead() == [("orphaned", order("A"))]


async def test_orders_on_their_last_chance_come_one_at_a_time(bench: Bench, queue: Queue) -> None:
    bench.push(*[order(n) for n in range(4)])
    for life in range(2):
        assert len(await Hand(queue, f"life-{life}").claim(4)) == 4
        await bench.pass_time(LEASE_MS + 10)
    hand = Hand(queue, "heir")
    await hand.say()
    (first,) = await hand.claim(4)
    assert first.last_chance
    hand.suspects = 1
    assert await hand.claim(4) == []
    await hand.say(outcomes=[Fulfilled(first.delivery, "", 1)])
    hand.suspects = 0
    assert len(await hand.claim(4)) == 1
    assert (await hand.survey()).retrying == 2


async def _outlived_by_all(bench: Bench, queue: Queue, many: int, lives: int) -> Hand:
    """So many orders, all of which outlived so many workers; and the one that may claim next."""
    bench.push(*[order(n) for n in range(many)])
    for life in range(lives):
        assert len(await Hand(queue, f"life-{life}").claim(many)) == many
        await bench.pass_time(LEASE_MS + 10)
    heir = Hand(queue, "heir")
    await heir.say()
    return heir


async def test_suspects_run_in_groups_that_a_crash_divides(bench: Bench, queue: Queue) -> None:
    """Invariant 4: a sixteenth at a time, so that the innocent are cleared together."""
    heir = await _outlived_by_all(bench, queue, 64, 2)
    group = await heir.claim(64)
    assert [claimed.orphanings for claimed in group] == [2] * 4
    heir.suspects = 4
    assert await heir.claim(64) == [], "a worker holds one group at a time"
    other = await Hand(queue, "other").claim(64)
    assert len(other) == 4, "each worker takes a group"
    await bench.pass_time(LEASE_MS + 10)
    auditor = Hand(queue, "auditor")
    assert [(await auditor.say()).orphaned for _ in range(2)] == [0, 0], "none of them was alone"
    untouched = await Hand(queue, "third").claim(64)
    assert [claimed.orphanings for claimed in untouched] == [2] * 4


async def test_the_order_that_kills_each_worker_ends_alone_and_takes_no_other_with_it(
    bench: Bench, queue: Queue
) -> None:
    """Invariant 4: the cap of orphanings is for an order that was alone."""
    await _outlived_by_all(bench, queue, 64, 2)
    fulfilled = crashes = 0
    while not bench.dead():
        worker = Hand(queue, f"worker-{fulfilled}-{crashes}")
        await worker.say()
        group = await worker.claim(64)
        if order(7) in [claimed.raw for claimed in group]:
            crashes += 1
            await bench.pass_time(LEASE_MS + 10)
        elif group:
            outcomes = [Fulfilled(claimed.delivery, "", 1) for claimed in group]
            await worker.say(outcomes=[*outcomes])
            fulfilled += len(group)
    while group := await Hand(queue, f"worker-{fulfilled}-{crashes}").claim(64):
        fulfilled += len(group)
    assert bench.dead() == [("orphaned", order(7))]
    assert (fulfilled, crashes) == (63, 2)


@pytest.mark.parametrize("most", [1, 2])
async def test_an_order_that_was_not_alone_survives_the_least_caps_of_orphanings(
    bench: Bench, most: int
) -> None:
    queue = bench.queue(max_orphanings=most)
    heir = await _outlived_by_all(bench, queue, 2, 1)
    assert bench.dead() == []
    assert len(await heir.claim(2)) == 1, "each is alone from now on"
    await bench.pass_time(LEASE_MS + 10)
    await Hand(queue, "auditor").say()
    assert len(bench.dead()) == 1


async def test_part_of_a_group_of_suspects_leaves_the_rest_for_others(
    bench: Bench, queue: Queue
) -> None:
    heir = await _outlived_by_all(bench, queue, 64, 2)
    assert len(await heir.claim(1)) == 1
    assert len(await Hand(queue, "other").claim(64)) == 3
    assert len(await Hand(queue, "third").claim(64)) == 4


async def test_who_outlived_two_workers_is_alone_from_then_on(bench: Bench) -> None:
    """Invariant 4: however many deaths are allowed, those beside a killer share but two of them."""
    queue = bench.queue(max_orphanings=5)
    bench.push(order("killer"), order("bystander"))
    for life in range(2):
        assert len(await Hand(queue, f"life-{life}").claim(2)) == 2
        await bench.pass_time(LEASE_MS + 10)
    for life in range(2):
        hand = Hand(queue, f"heir-{life}")
        await hand.say()
        (first,) = await hand.claim(2)
        assert (first.orphanings, first.last_chance) == (2, True)


async def test_a_lost_reply_is_made_up_for_by_asking(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"), order("B"))
    await hand.queue.exchange(Exchange(worker=hand.name, claim=2))
    holdings = await hand.ask_holdings([])
    assert not holdings.lease_lost
    assert [claimed.raw for claimed in holdings.unknown] == [order("A"), order("B")]
    assert [claimed.delivery for claimed in holdings.unknown] == [1, 2]
    holdings = await hand.ask_holdings([2])
    assert holdings.deliveries == {1, 2}
    assert [claimed.delivery for claimed in holdings.unknown] == [1]


async def test_requeue_of_an_order_that_has_begun_unheard_changes_its_status(
    bench: Bench, hand: Hand
) -> None:
    """The reply to the exchange that began it was lost, and it is given back without a start."""
    bench.push(order("A"), order("B"))
    await hand.queue.exchange(Exchange(worker=hand.name, claim=2))
    assert bench.status("A") == bench.status("B") == "processing"
    holdings = await hand.ask_holdings([])
    hand.exchanges, hand.held = holdings.number, set(holdings.deliveries)
    await hand.say(outcomes=[Requeued(1, "", 1)])
    assert (bench.status("A"), bench.status("B")) == ("retrying", "processing")
    heir = Hand(hand.queue, "heir")
    (claimed,) = await heir.claim()
    assert (claimed.raw, claimed.order_id) == (order("A"), "A")
    assert await heir.begin(claimed, "A") is Verdict.GO


async def test_question_that_gives_back_an_order_that_has_begun_changes_its_status(
    bench: Bench, hand: Hand
) -> None:
    """Eight small orders of one claim are more bytes than are sent after a lost reply."""
    small = [b'{"order_id": "%d", "note": "%s"}' % (n, b"x" * 8160) for n in range(8)]
    assert max(map(len, small)) <= 8192, "more would not begin early"
    bench.push(*small)
    await hand.queue.exchange(Exchange(worker=hand.name, claim=8))
    assert {bench.status(str(n)) for n in range(8)} == {"processing"}
    holdings = await hand.ask_holdings([])
    assert (len(holdings.deliveries), holdings.given_back) == (7, 1)
    assert [bench.status(str(n)) for n in range(8)] == ["processing"] * 7 + ["retrying"]


async def test_orphan_that_nobody_has_begun_any_more_is_dead_by_its_status(bench: Bench) -> None:
    queue = bench.queue(max_orphanings=1)
    hand, heir = Hand(queue, "gone too"), Hand(queue, "heir")
    bench.leave_begun("A")
    bench.push(order("A"))
    assert len(await hand.claim()) == 1
    await queue.release(hand.name)
    assert bench.dead() == [("orphaned", order("A"))]
    assert bench.status("A") == "dead"
    assert (await heir.survey()).dead == 1


async def test_orphaned_copy_leaves_the_status_to_the_one_at_work(bench: Bench) -> None:
    queue = bench.queue(max_orphanings=1)
    hand, heir = Hand(queue, "gone"), Hand(queue, "heir")
    bench.push(order("A"), order("A"))
    await heir.take("A")
    assert len(await hand.claim()) == 1
    await queue.release(hand.name)
    assert bench.dead() == [("orphaned", order("A"))]
    assert bench.status("A") == "processing"


async def test_a_worker_that_is_wrong_about_what_it_holds_is_told_so(
    bench: Bench, hand: Hand
) -> None:
    """Redis may come back with an older state; an exchange may even arrive twice."""
    bench.push(order("A"), order("B"))
    exchange = Exchange(worker=hand.name, claim=1)
    await hand.queue.exchange(exchange)
    assert (await hand.queue.exchange(exchange)).stale
    hand.held = {7, 8}
    assert (await hand.say()).stale


async def test_after_a_complete_reap_the_lease_is_lost_and_nothing_else(
    bench: Bench, queue: Queue
) -> None:
    gone, heir = Hand(queue, "gone"), Hand(queue, "heir")
    bench.push(order("A"))
    await gone.take("A")
    await bench.pass_time(LEASE_MS + 10)
    await heir.claim()
    assert (await queue.holdings("gone", 3, [1])).lease_lost
    assert (await gone.say()).lease_lost
    gone.held.clear()
    assert (await gone.say(claim=1)).lease_lost, "for ever: it goes on under another name"


async def test_an_exchange_that_arrives_after_the_question_has_no_effect(
    bench: Bench, hand: Hand
) -> None:
    bench.push(order("A"))
    holdings = await hand.ask_holdings([])
    late = await hand.say(claim=1)
    assert (late.stale, late.claimed) == (True, [])
    hand.exchanges = holdings.number
    assert len(await hand.claim()) == 1


async def test_question_that_arrives_late_has_no_effect(bench: Bench, hand: Hand) -> None:
    """Its reply was given up, and the next question was answered."""
    large = b'{"order_id": "L", "note": "%s"}' % (b"x" * 100_000)
    bench.push(order("A"), large)
    late = hand.exchanges + 2
    holdings = await hand.queue.holdings(hand.name, late + 1, [])
    hand.exchanges = holdings.number
    assert len(await hand.claim(2)) == 2
    assert (await hand.queue.holdings(hand.name, late, [])).stale
    assert (await hand.queue.holdings(hand.name, late + 1, [])).stale
    assert not (await hand.say()).stale
    assert (await hand.survey()).in_flight == 2


async def test_holdings_of_a_worker_whose_lease_ran_out(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    await hand.claim()
    await bench.pass_time(LEASE_MS + 10)
    assert (await hand.ask_holdings([1])).lease_lost


async def test_a_paused_queue_gives_nothing(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    bench.pause()
    reply = await hand.say(claim=5, survey=True)
    assert (reply.claimed, reply.paused) == ([], True)
    assert reply.survey is not None
    assert reply.survey.waiting == 1


async def test_waiting_ends_when_an_order_arrives_and_takes_nothing(
    bench: Bench, hand: Hand
) -> None:
    waiting = asyncio.create_task(hand.queue.wait(30))
    await hand.say()
    assert not waiting.done()
    bench.push(order("A"))
    assert await asyncio.wait_for(waiting, 5) == Wakeup(came=True)
    assert (await hand.survey()).waiting == 1
    assert len(await hand.claim()) == 1


async def rung(bench: Bench, hand: Hand, *raws: bytes) -> Wakeup:
    """Orders arrive, all at once, while an exchange of `hand` stands by."""
    exchange = Exchange(
        worker=hand.name,
        number=hand.exchanges + 1,
        holding=len(hand.held),
        first_delivery=hand.next,
        claim=1,
        standing=True,
    )
    hand.next += 1
    await hand.queue.stand_by(exchange)
    waiting = asyncio.create_task(hand.queue.wait(30))
    # It takes two turns to be told of the wait, and an exchange of another to know that Redis was,
    # too.
    await Hand(hand.queue, "other").say()
    bench.push(*raws)
    found = await asyncio.wait_for(waiting, 5)
    if found.reply:
        assert found.exchange is exchange
        hand.exchanges += 1
        hand.held |= {claimed.delivery for claimed in found.reply.claimed}
    return found


async def test_an_exchange_that_stands_by_claims_an_order_and_begins_it(
    bench: Bench, hand: Hand
) -> None:
    found = await rung(bench, hand, order("A"))
    assert found.reply is not None
    (claimed,) = found.reply.claimed
    assert found.came
    assert (claimed.raw, claimed.begun) == (order("A"), "A")
    assert bench.status("A") == "processing"
    await hand.say(outcomes=[Fulfilled(claimed.delivery, "A", 1)])
    assert bench.status("A") == "fulfilled"
    assert (await hand.survey()).fulfilled == 1


async def test_what_is_said_meanwhile_makes_an_exchange_that_stands_by_stale(
    bench: Bench, hand: Hand
) -> None:
    await hand.queue.stand_by(
        Exchange(worker=hand.name, number=1, first_delivery=1, claim=1, standing=True)
    )
    waiting = asyncio.create_task(hand.queue.wait(30))
    await hand.say(claim=3)
    bench.push(order("A"))
    assert await asyncio.wait_for(waiting, 5) == Wakeup(came=True)
    assert (await hand.survey()).waiting == 1


async def test_an_exchange_that_stands_by_at_a_paused_queue_claims_nothing(
    bench: Bench, hand: Hand
) -> None:
    bench.pause()
    found = await rung(bench, hand, order("A"))
    assert found.reply is not None
    assert (found.reply.claimed, found.reply.paused) == ([], True)
    assert (await hand.survey()).waiting == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"rubbish",
        b'{"order_id": ""}',
        b'{"order_id": "\\u0041"}',
        b'{"order_id": "A", "note": "\xc3\xa9"}',
        b'{"order_id": "A",\n"note": 1}',
        b'["order_id"]',
        b'{"order_id": "A", "enqueued_at": "yesterday"}',
    ],
)
async def test_what_only_the_worker_can_read_is_claimed_and_asks_to_begin(
    bench: Bench, hand: Hand, raw: bytes
) -> None:
    found = await rung(bench, hand, raw)
    assert found.reply is not None
    assert [(claimed.raw, claimed.begun) for claimed in found.reply.claimed] == [(raw, "")]
    assert bench.status("A") is None


async def test_an_order_that_has_a_status_asks_to_begin(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    claimed = await hand.take("A")
    await hand.say(outcomes=[Fulfilled(claimed.delivery, "A", 1)])
    found = await rung(bench, hand, order("A"))
    assert found.reply is not None
    (copy,) = found.reply.claimed
    assert not copy.begun
    assert await hand.begin(copy, "A") is Verdict.DUPLICATE


async def test_an_exchange_that_stands_by_leaves_other_orders_where_they_are(
    bench: Bench, hand: Hand
) -> None:
    bench.push(order("A"))
    await hand.claim()
    await hand.say(outcomes=[Requeued(1, "A", 1)])
    found = await rung(bench, hand, order("B"))
    assert found.reply is not None
    assert [claimed.raw for claimed in found.reply.claimed] == [order("B")]
    assert not found.reply.backlog
    assert (await hand.survey()).retrying == 1


async def test_an_exchange_that_stands_by_tells_of_the_orders_that_came_with_its_own(
    bench: Bench, hand: Hand
) -> None:
    found = await rung(bench, hand, order("A"), order("B"))
    assert found.reply is not None
    assert [claimed.raw for claimed in found.reply.claimed] == [order("A")]
    assert found.reply.backlog
    assert [claimed.raw for claimed in await hand.claim(5)] == [order("B")]


async def test_a_claim_of_few_orders_begins_them(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"), b"rubbish", order("B"))
    reply = await hand.say(claim=5)
    assert [claimed.begun for claimed in reply.claimed] == ["A", "", "B"]
    assert (bench.status("A"), bench.status("B")) == ("processing", "processing")


async def test_a_claim_of_many_orders_begins_none(bench: Bench, hand: Hand) -> None:
    bench.push(*[order(n) for n in range(9)])
    reply = await hand.say(claim=20)
    assert [claimed.begun for claimed in reply.claimed] == [""] * 9
    assert bench.status("0") is None


async def test_a_claim_of_two_copies_begins_one(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"), order("A"))
    reply = await hand.say(claim=5)
    assert [claimed.begun for claimed in reply.claimed] == ["A", ""]
    assert await hand.begin(reply.claimed[1], "A") is Verdict.BUSY


async def test_a_claim_of_an_order_given_back_does_not_begin_it(bench: Bench, hand: Hand) -> None:
    bench.push(order("A"))
    (claimed,) = await hand.claim()
    await hand.say(outcomes=[Requeued(claimed.delivery, "", 1)])
    (again,) = await hand.claim()
    assert not again.begun


async def test_the_survey_counts_every_place(bench: Bench, hand: Hand) -> None:
    """Invariants 1 and 5, place by place."""
    bench.push(*[order(n) for n in range(6)])
    a, b, c, d, _ = await hand.claim(5)
    for held, order_id in ((a, "0"), (b, "1"), (c, "2")):
        assert await hand.begin(held, order_id) is Verdict.GO
    await hand.say(
        outcomes=[
            Fulfilled(a.delivery, "0", 1),
            Retried(b.delivery, "1", 1, "later", 60_000),
            Dead(c.delivery, "2", 1, "never", DeadReason.REJECTED),
            Requeued(d.delivery, "", 1),
        ]
    )
    survey = await hand.survey()
    assert (survey.waiting, survey.in_flight, survey.retrying) == (1, 1, 2)
    assert (survey.dead, survey.fulfilled, survey.received) == (1, 1, 5)


async def test_a_worker_may_say_that_its_breaker_is_open(bench: Bench, hand: Hand) -> None:
    for breaker_open in (True, True, False, False, True):
        assert not (await hand.say(breaker_open=breaker_open)).stale
    await hand.say(leaving=True)
    await Hand(hand.queue, "auditor").survey()
