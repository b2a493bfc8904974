"""The demo's storefront: the same orders and fates for the same seed, placed at its rate."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice

import msgspec
import pytest

from fulfillment_worker.admin.producer import Producer
from fulfillment_worker.admin.sample_orders import sample_orders
from fulfillment_worker.core.decode import Decoded, Undecodable, decode
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.core.order import Order, Reject, Retry
from fulfillment_worker.demo.shop import FATE, Fate, fulfil
from fulfillment_worker.demo.storefront import DemoOrder, Storefront, entries
from fulfillment_worker.demo.tally import Tally

ID = "order_id"


def read(entry: DemoOrder) -> Decoded | Undecodable:
    return decode(entry.raw, id_field=ID, max_bytes=1 << 20)


def essence(entry: DemoOrder) -> object:
    told = read(entry)
    return {**told.body, "enqueued_at": ""} if isinstance(told, Decoded) else entry.raw


# --- what is placed ---------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_entries() -> None:
    first, second, other = (
        [essence(entry) for entry in entries(seed, 300, ID)] for seed in (5, 5, 6)
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize("seed", range(20))
def test_some_fail_once_a_few_are_rejected_and_one_is_rubbish(seed: int) -> None:
    told = [read(entry) for entry in entries(seed, 500, ID)]
    rubbish = [each for each in told if isinstance(each, Undecodable)]
    fates = Counter(each.body.get(FATE) for each in told if isinstance(each, Decoded))
    assert len(told) == 500
    assert [each.why for each in rubbish] == ["not JSON: invalid character (byte 0)"]
    assert 15 <= fates[Fate.CRASHES_ONCE] + fates[Fate.RETRIES_ONCE] <= 20
    assert 8 <= fates[Fate.REJECTED] <= 10
    assert fates[Fate.SLOW] > 20


@pytest.mark.parametrize("seed", range(20))
def test_the_first_order_is_one_that_goes_well(seed: int) -> None:
    (first,) = entries(seed, 1, ID)
    told = read(first)
    assert isinstance(told, Decoded)
    assert FATE not in told.body
    assert told.id == first.id
    assert told.enqueued_unix is not None


@pytest.mark.parametrize("orders", [2, 3, 10])
def test_even_a_short_run_has_its_rubbish(orders: int) -> None:
    assert [entry.id for entry in entries(1, orders, ID)].count("") == 1


def test_without_a_count_there_is_no_end() -> None:
    assert len(list(islice(entries(1, None, "number"), 2000))) == 2000


def test_samples_are_as_many_as_asked_for_and_all_different() -> None:
    ids = [msgspec.json.decode(raw)["id"] for raw in sample_orders(50, 1, "id")]
    assert len(set(ids)) == 50


# --- what the shop does with it ---------------------------------------------------------------


def order(fate: object, attempt: int = 1) -> Order:
    return Order(id="A", attempt=attempt, body={FATE: fate}, raw=b"", queue="orders")


@pytest.mark.parametrize("fate", [Fate.PLAIN, Fate.SLOW, None, ["of", "others"]])
async def test_most_orders_are_fulfilled(fate: object) -> None:
    await fulfil(order(fate))


@pytest.mark.parametrize(
    ("fate", "error"), [(Fate.CRASHES_ONCE, OSError), (Fate.RETRIES_ONCE, Retry)]
)
async def test_some_fail_and_succeed_when_tried_again(fate: Fate, error: type[Exception]) -> None:
    with pytest.raises(error):
        await fulfil(order(fate.value))
    await fulfil(order(fate.value, attempt=2))


async def test_a_rejected_order_is_rejected() -> None:
    with pytest.raises(Reject, match="that country"):
        await fulfil(order("rejected"))


# --- how it is placed -------------------------------------------------------------------------


class List(Producer):
    """A list that fails as often as told, and can be waited for."""

    def __init__(self, failures: int = 0) -> None:
        self.raws: list[bytes] = []
        self.batches = 0
        self.failures = failures
        self.tried = asyncio.Event()

    async def enqueue(
        self, raws: Iterable[bytes], confirmed: Callable[[int], object] = lambda _: None
    ) -> int:
        await asyncio.sleep(0)
        self.tried.set()
        if self.failures:
            self.failures -= 1
            raise QueueUnavailable("away")
        added = list(raws)
        self.raws += added
        self.batches += 1
        return len(added)


def made(count: int) -> list[DemoOrder]:
    return [DemoOrder(str(number), b"%d" % number) for number in range(count)]


async def test_all_are_placed_in_order_and_counted() -> None:
    shop, tally = List(), Tally(1200)
    await Storefront(shop, iter(made(1200)), 1e6, tally).run()
    assert shop.raws == [entry.raw for entry in made(1200)]
    assert shop.batches >= 3
    assert (tally.placed, tally.open) == (1200, 1200)


async def test_it_keeps_its_rate() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await Storefront(List(), iter(made(21)), 200, Tally(21)).run()
    assert loop.time() - began >= 20 / 200


async def test_an_outage_is_waited_out() -> None:
    shop, tally = List(failures=2), Tally(1)
    await Storefront(shop, iter(made(1)), 1e6, tally).run()
    assert shop.raws == [b"0"]
    assert tally.placed == 1


async def test_closing_ends_it_at_once_however_slow_the_rate() -> None:
    shop = List()
    storefront = Storefront(shop, iter(made(10)), 0.001, Tally(10))
    running = asyncio.create_task(storefront.run())
    await shop.tried.wait()
    storefront.close()
    await asyncio.wait_for(running, 5)
    assert shop.raws == [b"0"]


async def test_closing_during_an_outage_withdraws_what_was_not_confirmed() -> None:
    shop, tally = List(failures=10**6), Tally(1)
    storefront = Storefront(shop, iter(made(1)), 20, tally)
    running = asyncio.create_task(storefront.run())
    await shop.tried.wait()
    storefront.close()
    await asyncio.wait_for(running, 5)
    assert (tally.placed, tally.open) == (0, 0)
