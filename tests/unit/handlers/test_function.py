"""AsyncFunction and PlainFunction: what a function may do, and what leaves a call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator

import pytest

from fulfillment_worker import Order, Reject, Retry
from fulfillment_worker.handlers import Escaped, Handler
from fulfillment_worker.handlers.function import AsyncFunction, PlainFunction
from tests.unit.handlers.waiting import DEADLINE, eventually


class Shop:
    """Functions of both kinds that remember the orders they were given, and where."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.threads: list[threading.Thread] = []

    def plain(self, order: Order) -> str:
        self.orders.append(order)
        self.threads.append(threading.current_thread())
        return "ignored"

    async def asynchronous(self, order: Order) -> None:
        await asyncio.sleep(0)
        self.plain(order)


def both(error: BaseException) -> list[Handler]:
    """Handlers of both kinds that raise `error`."""

    async def asynchronous(order: Order) -> None:
        raise error

    def plain(order: Order) -> None:
        raise error

    return [AsyncFunction(asynchronous, "shop:a"), PlainFunction(plain, "shop:p")]


async def test_an_async_function_runs_on_the_loop(order: Order) -> None:
    shop = Shop()
    handler = AsyncFunction(shop.asynchronous, "shop:fulfil")
    await handler(order)
    await handler.close()
    assert shop.orders == [order]
    assert shop.threads == [threading.current_thread()]
    assert (handler.name, handler.blocking) == ("shop:fulfil", False)


async def test_a_plain_function_runs_in_a_thread(order: Order) -> None:
    shop = Shop()
    handler = PlainFunction(shop.plain, "shop:fulfil")
    await handler(order)
    await handler.close()
    assert shop.orders == [order]
    assert shop.threads != [threading.current_thread()]
    assert (handler.name, handler.blocking) == ("shop:fulfil", True)


async def test_an_async_function_that_does_not_wait_needs_no_task(order: Order) -> None:
    async def at_once(order: Order) -> None:
        pass

    with pytest.raises(StopIteration):
        AsyncFunction(at_once, "shop:fulfil")(order).send(None)


@pytest.mark.parametrize(
    "error", [Retry("later", after=5), Reject("never"), ValueError("bug"), TimeoutError()]
)
async def test_exceptions_arrive_as_they_were_raised(order: Order, error: Exception) -> None:
    for handler in both(error):
        with pytest.raises(type(error)) as caught:
            await handler(order)
        assert caught.value is error
        await handler.close()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SystemExit("bye"), "SystemExit: bye"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (asyncio.CancelledError(), "CancelledError"),
    ],
)
async def test_a_handler_cannot_end_the_worker(
    order: Order, error: BaseException, message: str
) -> None:
    for handler in both(error):
        with pytest.raises(Escaped) as caught:
            await handler(order)
        assert str(caught.value) == message
        await handler.close()


async def test_a_cancelled_task_is_told_from_a_handler_that_cancels_itself(order: Order) -> None:
    waiting = asyncio.Event()

    async def hang(order: Order) -> None:
        waiting.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(AsyncFunction(hang, "shop:fulfil")(order))
    await waiting.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_call_can_be_closed_before_its_end(order: Order) -> None:
    async def hang(order: Order) -> None:
        await asyncio.sleep(DEADLINE)

    call = AsyncFunction(hang, "shop:fulfil")(order)
    call.send(None)
    call.close()


async def test_a_plain_function_that_returns_a_coroutine_is_awaited_on_the_loop(
    order: Order,
) -> None:
    shop = Shop()
    handler = PlainFunction(lambda order: shop.asynchronous(order), "shop:fulfil")  # noqa: PLW0108
    await handler(order)
    assert shop.threads == [threading.current_thread()]

    def fail(order: Order) -> Awaitable[None]:
        return both(SystemExit(1))[0](order)

    with pytest.raises(Escaped):
        await PlainFunction(fail, "shop:fulfil")(order)
    await handler.close()


async def test_an_async_function_that_forgot_to_await_is_awaited(order: Order) -> None:
    shop = Shop()

    async def forgetful(order: Order) -> object:
        return shop.asynchronous(order)

    await AsyncFunction(forgetful, "shop:fulfil")(order)
    assert shop.orders == [order]


async def test_a_returned_generator_is_a_failure_not_a_success(order: Order) -> None:
    def generate(order: Order) -> Iterator[int]:
        yield 1

    async def generate_async(order: Order) -> AsyncIterator[int]:
        yield 1

    for generator in (generate, generate_async):
        handler = PlainFunction(generator, "shop:fulfil")
        with pytest.raises(TypeError, match="generator"):
            await handler(order)
        await handler.close()


async def test_a_blocking_function_leaves_the_loop_free(order: Order) -> None:
    let_go = threading.Event()

    def block(order: Order) -> None:
        assert let_go.wait(DEADLINE)

    handler = PlainFunction(block, "shop:fulfil")
    call = asyncio.create_task(handler(order))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not call.done()
    let_go.set()
    await eventually(call.done)
    await call
    await handler.close()
