"""ShopHandler: resources by name, and what is around each attempt."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest
from msgspec.structs import replace

from fulfillment_worker import Handler, Order, Reject
from fulfillment_worker.core.outcome import SUCCEEDED, Failed, FailureReason, Rejected, Result
from fulfillment_worker.handlers.errors import HandlerError, ResourcesUnavailable
from fulfillment_worker.handlers.function import AsyncFunction
from fulfillment_worker.handlers.per_queue import HandlerPerQueue
from fulfillment_worker.handlers.shop_handler import ShopHandler
from tests.support.attempt import OneAttempt
from tests.unit.handlers.waiting import eventually


class Shop:
    """Declares handlers, and remembers what happened, in its order."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.threads: dict[str, str] = {}
        self.fails = 0

    def note(self, what: str) -> None:
        self.happened.append(what)
        self.threads[what] = threading.current_thread().name

    @asynccontextmanager
    async def resources(self) -> AsyncIterator[dict[str, object]]:
        self.note("open")
        if self.fails:
            self.fails -= 1
            raise ConnectionRefusedError("postgres://shop:hunter2@db/shop")
        yield {"db": "the pool", "cache": "the cache"}
        self.note("close")

    @contextmanager
    def plain_resources(self) -> Iterator[dict[str, object]]:
        self.note("open")
        yield {"db": "the pool"}
        self.note("close")

    async def fulfil(self, order: Order, db: str) -> None:
        self.note(f"fulfil with {db}")

    def fulfil_plainly(self, order: Order, *, db: str) -> None:
        self.note(f"fulfil with {db}")

    @asynccontextmanager
    async def around(self, order: Order) -> AsyncIterator[None]:
        with self._noted():
            yield

    @contextmanager
    def plain_around(self, order: Order) -> Iterator[None]:
        with self._noted():
            yield

    @contextmanager
    def _noted(self) -> Iterator[None]:
        self.note("enter")
        try:
            yield
        except BaseException as error:
            self.note(f"leave by {type(error).__name__}")
            raise
        self.note("leave")


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def attempt(declared: Handler, order: Order) -> Result:
    handler = ShopHandler(declared, "shop:app")
    await handler.open()
    result = await handler(order, OneAttempt())
    await handler.close()
    return result


def refusal(declared: Handler) -> str:
    with pytest.raises(HandlerError) as caught:
        ShopHandler(declared, "shop:app")
    return str(caught.value)


# --- resources ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ["resources", "plain_resources"])
@pytest.mark.parametrize("fulfil", ["fulfil", "fulfil_plainly"])
async def test_resources_are_opened_taken_by_name_and_closed(
    shop: Shop, order: Order, make: str, fulfil: str
) -> None:
    declared = Handler(getattr(shop, fulfil), resources=getattr(shop, make))
    assert await attempt(declared, order) is SUCCEEDED
    assert shop.happened == ["open", "fulfil with the pool", "close"]
    main = threading.current_thread().name
    assert (shop.threads["open"] == shop.threads["close"] == main) is (make == "resources")


async def test_resources_are_entered_and_left_in_one_task(order: Order) -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        tasks.append(asyncio.current_task())
        async with asyncio.TaskGroup():  # refuses to be left by another task
            yield
        tasks.append(asyncio.current_task())

    async def fulfil(order: Order) -> None:
        pass

    assert await attempt(Handler(fulfil, resources=resources), order) is SUCCEEDED
    assert len(tasks) == 2
    assert tasks[0] is tasks[1]


async def test_resources_that_fail_can_be_tried_again(shop: Shop, order: Order) -> None:
    shop.fails = 2
    handler = ShopHandler(Handler(shop.fulfil, resources=shop.resources), "shop:app")
    for _ in range(2):
        with pytest.raises(ResourcesUnavailable) as caught:
            await handler.open()
        assert str(caught.value).startswith("ConnectionRefusedError: ")
        assert "hunter2" not in str(caught.value)
    await handler.open()
    assert await handler(order, OneAttempt()) is SUCCEEDED
    await handler.close()
    await handler.close()
    assert shop.happened.count("close") == 1


async def test_resources_that_are_being_opened_are_left_when_that_is_cancelled() -> None:
    closed = asyncio.Event()

    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        try:
            await asyncio.Event().wait()
            yield
        finally:
            closed.set()

    handler = ShopHandler(Handler(lambda order: None, resources=resources), "shop:app")
    opening = asyncio.create_task(handler.open())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    opening.cancel()
    with suppress(asyncio.CancelledError):
        await opening
    await asyncio.wait_for(closed.wait(), 60)


async def test_resources_whose_closing_fails_tell_why(order: Order) -> None:
    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        yield
        raise OSError("the pool is busy")

    handler = ShopHandler(Handler(lambda order: None, resources=resources), "shop:app")
    await handler.open()
    assert await handler(order, OneAttempt()) is SUCCEEDED
    with pytest.raises(OSError, match="busy"):
        await handler.close()


async def test_resources_with_a_name_that_nobody_provides(shop: Shop) -> None:
    async def fulfil(order: Order, cash: str) -> None:
        pass

    handler = ShopHandler(Handler(fulfil, resources=shop.resources), "shop:app")
    with pytest.raises(HandlerError) as caught:
        await handler.open()
    assert str(caught.value) == (
        "shop:app takes 'cash', which is none of its resources (cache, db); did you mean 'cache'?"
    )
    assert shop.happened == ["open", "close"]


def test_resources_that_a_handler_takes_and_never_declared() -> None:
    async def fulfil(order: Order, db: str) -> None:
        pass

    assert refusal(Handler(fulfil)) == "shop:app takes 'db', which is none of its resources (none)"


async def test_resources_leave_arguments_with_defaults_alone(shop: Shop, order: Order) -> None:
    seen: list[object] = []

    async def fulfil(order: Order, retries: int = 3, db: str = "none", **more: object) -> None:
        seen.extend([retries, db, more])

    declared = Handler(fulfil, resources=shop.resources)
    assert await attempt(declared, order) is SUCCEEDED
    assert seen == [3, "the pool", {"cache": "the cache"}]


def _generator() -> Iterator[None]:
    yield


async def _async_generator() -> AsyncIterator[None]:
    yield


async def _coroutine() -> None:
    pass


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_generator, "decorate it with contextlib.contextmanager"),
        (_async_generator, "decorate it with contextlib.asynccontextmanager"),
        (_coroutine, "is an async function, and no context manager"),
        ({"db": "pool"}, "must be a function that returns a context manager"),
    ],
)
def test_resources_and_around_that_make_no_context_manager(make: Any, why: str) -> None:
    for declared in (
        Handler(lambda order: None, resources=make),
        Handler(lambda order: None, around=make),
    ):
        assert why in refusal(declared)


def _returns_a_coroutine() -> Any:
    return _coroutine()


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: 7, "something of type int"),
        (_returns_a_coroutine, "an awaitable, and no context manager"),
    ],
)
async def test_resources_made_by_a_function_that_returns_none(
    made: Callable[[], Any], why: str
) -> None:
    handler = ShopHandler(Handler(lambda order: None, resources=made), "shop:app")
    with pytest.raises(HandlerError, match=why):
        await handler.open()


async def test_resources_must_have_names() -> None:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Any]:
        yield "the pool"

    handler = ShopHandler(Handler(lambda order: None, resources=resources), "shop:app")
    with pytest.raises(HandlerError, match="must be a dictionary of names and values"):
        await handler.open()


# --- around ---------------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("around", ["around", "plain_around"])
Fulfil = Callable[[Order], Any]


def kinds(shop: Shop, error: BaseException | None = None) -> dict[str, Fulfil]:
    async def asynchronous(order: Order) -> None:
        plain(order)

    def plain(order: Order) -> None:
        shop.note("fulfil")
        if error is not None:
            raise error

    return {"async": asynchronous, "plain": plain}


@BOTH
@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_around_is_entered_and_left_where_the_handler_runs(
    shop: Shop, order: Order, around: str, kind: str
) -> None:
    declared = Handler(kinds(shop)[kind], around=getattr(shop, around))
    assert await attempt(declared, order) is SUCCEEDED
    assert shop.happened == ["enter", "fulfil", "leave"]
    same = shop.threads["enter"] == shop.threads["fulfil"] == shop.threads["leave"]
    assert same is not (kind == "plain" and around == "around")


@BOTH
@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_around_sees_what_the_handler_raises(
    shop: Shop, order: Order, around: str, kind: str
) -> None:
    declared = Handler(kinds(shop, Reject("no such SKU"))[kind], around=getattr(shop, around))
    result = await attempt(declared, order)
    assert isinstance(result, Rejected)
    assert result.error == "no such SKU"
    assert shop.happened == ["enter", "fulfil", "leave by Reject"]


@pytest.mark.parametrize("kind", ["async", "plain"])
@pytest.mark.parametrize("where", ["enter", "leave"])
async def test_around_that_raises_fails_the_attempt(
    shop: Shop, order: Order, kind: str, where: str
) -> None:
    @contextmanager
    def around(order: Order) -> Iterator[None]:
        if where == "enter":
            raise OSError("no session")
        yield
        raise OSError("no commit")

    result = await attempt(Handler(kinds(shop)[kind], around=around), order)
    assert isinstance(result, Failed)
    assert result.reason is FailureReason.HANDLER
    assert "no session" in result.error or "no commit" in result.error
    assert shop.happened == (["fulfil"] if where == "leave" else [])


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_around_that_swallows_what_is_raised_makes_a_success(
    shop: Shop, order: Order, kind: str
) -> None:
    declared = Handler(kinds(shop, OSError())[kind], around=lambda order: suppress(OSError))
    assert await attempt(declared, order) is SUCCEEDED


async def test_around_takes_resources_by_name(shop: Shop, order: Order) -> None:
    @asynccontextmanager
    async def around(order: Order, db: str) -> AsyncIterator[None]:
        shop.note(f"around with {db}")
        yield

    declared = Handler(shop.fulfil, resources=shop.resources, around=around)
    assert await attempt(declared, order) is SUCCEEDED
    assert shop.happened == ["open", "around with the pool", "fulfil with the pool", "close"]


async def test_around_sees_the_cancellation_of_an_attempt(shop: Shop, order: Order) -> None:
    async def hang(order: Order) -> None:
        shop.note("fulfil")
        await asyncio.Event().wait()

    handler = ShopHandler(Handler(hang, around=shop.around), "shop:app")
    await handler.open()
    one = OneAttempt()
    call = asyncio.ensure_future(handler(order, one))
    await eventually(lambda: "fulfil" in shop.happened)
    one.cut_short = Failed(FailureReason.TIMEOUT, "took longer than 60 s")
    call.cancel()
    result = await call
    assert isinstance(result, Failed)
    assert result.reason is FailureReason.TIMEOUT
    assert shop.happened == ["enter", "fulfil", "leave by CancelledError"]


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_around_that_returns_no_context_manager_fails_the_attempt(
    shop: Shop, order: Order, kind: str
) -> None:
    def around(order: Order) -> AbstractAsyncContextManager[object]:
        return 7  # type: ignore[return-value]

    result = await attempt(Handler(kinds(shop)[kind], around=around), order)
    assert isinstance(result, Failed)
    assert "around returned something of type int, which is no context manager" in result.error


async def test_around_a_plain_function_that_returns_a_coroutine(shop: Shop, order: Order) -> None:
    def fulfil(order: Order) -> Any:
        return _coroutine()

    result = await attempt(Handler(fulfil, around=shop.plain_around), order)
    assert isinstance(result, Failed)
    assert "make it an async function" in result.error


# --- several queues -------------------------------------------------------------------------------


async def test_handlers_of_queues_get_their_orders_and_are_opened_and_closed_together(
    shop: Shop, order: Order
) -> None:
    both = ShopHandler(Handler(shop.fulfil, resources=shop.resources), "shop:fulfil")

    async def refund(order: Order) -> None:
        shop.note("refund")

    handler = HandlerPerQueue(
        {"orders": both, "express": both, "returns": AsyncFunction(refund, "shop:refund")}
    )
    assert handler.name == "orders=shop:fulfil,express=shop:fulfil,returns=shop:refund"
    await handler.open()
    for queue in ("orders", "returns", "express"):
        assert await handler(replace(order, queue=queue), OneAttempt()) is SUCCEEDED
    await handler.close()
    with_pool = "fulfil with the pool"
    assert shop.happened == ["open", with_pool, "refund", with_pool, "close"]


async def test_handlers_of_queues_are_closed_again_where_one_can_not_be_opened(shop: Shop) -> None:
    away = Shop()
    away.fails = 1
    handler = HandlerPerQueue(
        {
            "orders": ShopHandler(Handler(shop.fulfil, resources=shop.resources), "shop:fulfil"),
            "returns": ShopHandler(Handler(away.fulfil, resources=away.resources), "shop:refund"),
        }
    )
    with pytest.raises(ResourcesUnavailable):
        await handler.open()
    assert shop.happened == ["open", "close"]
    await handler.open()
    await handler.close()
    assert shop.happened == ["open", "close"] * 2
