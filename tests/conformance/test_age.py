"""How old the oldest claimable order is, for producers that send no time: on Redis itself.

Orders are in the list without a time, and Redis keeps none for them. Times here are the server's;
a survey notes arrivals once a second at most, so an age may be a survey's interval too small.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from fulfillment_worker.core.exchange import Survey
from fulfillment_worker.core.outcome import Fulfilled, Requeued, Retried
from fulfillment_worker.queue import keys
from tests.conformance.conftest import RedisBench
from tests.conformance.test_queue import Hand, order
from tests.support.eventually import aeventually
from tests.support.redis_server import VERSIONS, RedisServer

# Longer than the second between two notes of what had arrived.
A_NOTE = 1050


class Shop(RedisBench):
    """A Redis bench with two workers."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__(server)
        self.one, self.other = Hand(self.queue(), "w1"), Hand(self.queue(), "w2")

    @property
    def now(self) -> int:
        seconds, micros = self.client.time()
        return int(seconds * 1000 + micros // 1000)

    async def pass_time(self, ms: int) -> None:
        """It does: what is told is by the server's clock."""
        until = self.now + ms
        await aeventually(lambda: self.now > until, what=f"{ms} ms on the server's clock")

    def end_leases(self) -> None:
        for worker in self.client.zrange(keys.leases("orders"), 0, -1):
            self.client.zadd(keys.leases("orders"), {worker: 1})


@pytest.fixture(params=VERSIONS)
async def shop(
    request: pytest.FixtureRequest, redis_servers: Callable[[str], RedisServer]
) -> AsyncIterator[Shop]:
    server = redis_servers(request.param)
    server.flush()
    shop = Shop(server)
    yield shop
    await shop.close()


def _age(survey: Survey) -> int:
    return survey.at - survey.oldest


async def test_the_first_in_the_line_ages_and_the_next_has_an_age_of_its_own(shop: Shop) -> None:
    shop.push(order("A"))
    first = (await shop.one.survey()).at
    await shop.pass_time(A_NOTE)
    shop.push(order("B"), order("C"))
    noted = await shop.one.survey()
    assert noted.oldest == first
    await shop.pass_time(300)
    # Whoever looks, and however it came to know of the queue.
    assert (await shop.other.survey()).oldest == first
    await shop.one.claim()
    assert (await shop.other.survey()).oldest == noted.at
    await shop.one.claim(2)
    assert _age(await shop.other.survey()) == 0


async def test_a_paused_queue_ages(shop: Shop) -> None:
    shop.pause()
    shop.push(order("A"))
    since = (await shop.one.say(claim=5, survey=True)).survey
    await shop.pass_time(200)
    later = (await shop.one.say(claim=5, survey=True)).survey
    assert since is not None
    assert later is not None
    assert (later.waiting, later.oldest) == (1, since.at)


async def test_a_retry_has_no_age_until_it_is_due_and_then_one_since_it_is(shop: Shop) -> None:
    shop.push(order("A"))
    claimed = await shop.one.take("A")
    await shop.pass_time(150)
    ended = Retried(claimed.delivery, "A", 1, "why", 2000)
    due = (await shop.one.say(outcomes=[ended], survey=True)).now + 2000
    early = await shop.one.survey()
    assert (early.retrying, _age(early)) == (1, 0)
    shop.pause()
    await shop.pass_time(2050)
    late = await shop.other.survey()
    assert late.oldest == due
    # An order that is due since then and one that was there before it: the older one counts.
    shop.push(order("B"))
    assert (await shop.other.survey()).oldest == due


async def test_an_order_that_was_given_back_is_as_old_as_it_is(shop: Shop) -> None:
    shop.push(order("A"))
    claimed = await shop.one.take("A")
    await shop.pass_time(150)
    await shop.one.say(outcomes=[Requeued(claimed.delivery, "A", 1)])
    assert (await shop.other.survey()).oldest == claimed.first_seen


async def test_orders_on_their_last_chance_age_too(shop: Shop) -> None:
    shop.push(order("A"))
    first_seen = 0
    for name in ("x1", "x2"):
        (claimed,) = await Hand(shop.queue(), name).claim()
        first_seen = claimed.first_seen
        shop.end_leases()
        shop.pause()
        assert (await shop.other.say(claim=0)).recovered == 1
        shop.client.hdel(keys.books("orders"), "paused")
    shop.pause()
    survey = await shop.other.survey()
    assert (survey.retrying, survey.oldest) == (1, first_seen)


async def test_what_vanishes_from_the_list_leaves_no_age_behind(shop: Shop) -> None:
    """Another consumer takes from the list, or somebody deletes it."""
    shop.push(*(order(n) for n in range(10)))
    await shop.one.survey()
    await shop.pass_time(300)
    shop.client.delete("orders")
    await shop.one.survey()
    shop.push(order("new"))
    assert _age(await shop.one.survey()) == 0


async def test_beside_another_consumer_the_age_is_that_of_what_is_left(shop: Shop) -> None:
    shop.push(*(order(n) for n in range(10)))
    since = (await shop.one.survey()).at
    for _ in range(4):
        shop.client.rpop("orders")
        (claimed,) = await shop.one.claim()
        await shop.one.say(outcomes=[Fulfilled(claimed.delivery, "", 1)])
    assert (await shop.one.survey()).oldest == since
    await shop.pass_time(A_NOTE)
    shop.push(order("late"))
    late = await shop.one.survey()
    assert late.oldest == since
    shop.client.rpop("orders")
    shop.client.rpop("orders")
    assert (await shop.one.survey()).oldest >= since
    shop.client.rpop("orders")
    assert _age(await shop.one.survey()) == 0


async def test_a_backlog_of_days_takes_little_memory(shop: Shop) -> None:
    """Notes get sparser with the age of the head: a few thousand in a week."""
    week = 7 * 24 * 3600 * 1000
    shop.push(order("A"))
    now = shop.now
    shop.client.zadd(keys.arrivals("orders"), {str(now - week): 1, str(now - 500_000): 1})
    assert _age(await shop.one.survey()) >= week
    before = shop.client.zcard(keys.arrivals("orders"))
    shop.push(order("B"))
    await shop.one.survey()
    assert shop.client.zcard(keys.arrivals("orders")) == before
