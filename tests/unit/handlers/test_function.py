"""AsyncFunction and PlainFunction: what a function may do, and as what a call ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from fulfillment_worker import Order, Reject, Retry
from fulfillment_worker.core.outcome import (
    INTERRUPTED,
    SUCCEEDED,
    Failed,
    FailureReason,
    Rejected,
    Result,
    Unattempted,
)
from fulfillment_worker.core.shortage import Shortage
from fulfillment_worker.handlers import LoadedHandler
from fulfillment_worker.handlers.function import AsyncFunction, PlainFunction
from tests.support.attempt import OneAttempt
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


def both(error: BaseException) -> list[LoadedHandler]:
    """Handlers of both kinds that raise `error`."""

    async def asynchronous(order: Order) -> None:
        raise error

    def plain(order: Order) -> None:
        raise error

    return [AsyncFunction(asynchronous, "shop:a"), PlainFunction(plain, "shop:p")]


async def run(handler: LoadedHandler, order: Order) -> Result:
    result = await handler(order, OneAttempt())
    await handler.close()
    return result


async def test_an_async_function_runs_on_the_loop(order: Order) -> None:
    shop = Shop()
    handler = AsyncFunction(shop.asynchronous, "shop:fulfil")
    assert await run(handler, order) is SUCCEEDED
    assert shop.orders == [order]
    assert shop.threads == [threading.current_thread()]
    assert (handler.name, handler.blocking) == ("shop:fulfil", False)


async def test_a_plain_function_runs_in_a_thread(order: Order) -> None:
    shop = Shop()
    handler = PlainFunction(shop.plain, "shop:fulfil")
    assert await run(handler, order) is SUCCEEDED
    assert shop.orders == [order]
    assert shop.threads != [threading.current_thread()]
    assert (handler.name, handler.blocking) == ("shop:fulfil", True)


async def test_an_async_function_that_does_not_wait_needs_no_task(order: Order) -> None:
    async def at_once(order: Order) -> None:
        pass

    with pytest.raises(StopIteration) as ended:
        AsyncFunction(at_once, "shop:fulfil")(order, OneAttempt()).send(None)
    assert ended.value.value is SUCCEEDED


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (Retry("later", after=5), FailureReason.DEPENDENCY, "later"),
        (Reject("never"), None, "never"),
        (ValueError("bug"), FailureReason.HANDLER, "ValueError: bug ("),
        (TimeoutError(), FailureReason.HANDLER, "TimeoutError ("),
        (SystemExit("bye"), FailureReason.HANDLER, "SystemExit: bye ("),
        (KeyboardInterrupt(), FailureReason.HANDLER, "KeyboardInterrupt ("),
        (GeneratorExit(), FailureReason.HANDLER, "GeneratorExit ("),
        (asyncio.CancelledError(), FailureReason.HANDLER, "CancelledError ("),
    ],
)
async def test_what_a_function_raises_is_a_result_of_either_kind_of_function(
    order: Order, error: BaseException, kind: FailureReason | None, text: str
) -> None:
    for handler in both(error):
        attempt = OneAttempt()
        result = await handler(order, attempt)
        assert isinstance(result, Failed | Rejected)
        assert (result.reason if isinstance(result, Failed) else None) is kind
        assert result.error.startswith(text)
        assert "in both.<locals>." in result.traceback
        assert attempt.errors == [error], "tracing tells of the exception itself"
        await handler.close()


async def test_stop_iteration_of_a_plain_function_is_told_as_itself(order: Order) -> None:
    result = await run(both(StopIteration(3))[1], order)
    assert isinstance(result, Failed)
    assert result.error.startswith("StopIteration: 3 (")


async def test_shortage_of_threads_is_no_attempt(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise Shortage("no thread can be started")

    monkeypatch.setattr("fulfillment_worker.handlers.daemon_threads.start_thread", refuse)
    attempt = OneAttempt()
    handler = PlainFunction(lambda order: None, "shop:fulfil")
    assert await handler(order, attempt) == Unattempted("no thread can be started")
    attempt.cut_short = INTERRUPTED
    assert await handler(order, attempt) is INTERRUPTED


LATE = Failed(FailureReason.TIMEOUT, "no result within 1 s")


@pytest.mark.parametrize("cleanup", [None, ValueError("while cleaning up"), Reject("no")])
@pytest.mark.parametrize("cut_short", [LATE, INTERRUPTED])
async def test_cancelled_attempt_ends_as_it_was_cut_short(
    order: Order, cut_short: Result, cleanup: Exception | None
) -> None:
    """Whatever it raises then; a time-out tells the place."""
    waiting = asyncio.Event()

    async def hang(order: Order) -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if cleanup is not None:
                raise cleanup from None
            raise

    attempt = OneAttempt()
    call = asyncio.create_task(AsyncFunction(hang, "shop:fulfil")(order, attempt))
    await waiting.wait()
    attempt.cut_short = cut_short
    call.cancel(cut_short)
    result = await call
    if cut_short is INTERRUPTED:
        assert result is INTERRUPTED
        return
    assert isinstance(result, Failed)
    assert result.reason is FailureReason.TIMEOUT
    assert result.error.startswith("no result within 1 s (")
    assert ".hang)" in result.error
    assert ".hang" in result.traceback


@pytest.mark.parametrize("waits", [False, True])
async def test_function_that_cancels_its_own_task_has_failed(order: Order, waits: bool) -> None:
    async def cancel_itself(order: Order) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if waits:
            await asyncio.sleep(0)
        raise asyncio.CancelledError

    async def attempt() -> None:
        results.append(await run(AsyncFunction(cancel_itself, "shop:fulfil"), order))

    results: list[Result] = []
    await asyncio.wait({asyncio.create_task(attempt())})
    assert results == [Failed(FailureReason.HANDLER, "the handler cancelled itself")]


async def test_a_call_can_be_closed_before_its_end(order: Order) -> None:
    async def hang(order: Order) -> None:
        await asyncio.sleep(DEADLINE)

    call = AsyncFunction(hang, "shop:fulfil")(order, OneAttempt())
    call.send(None)
    call.close()


async def test_a_plain_function_that_returns_a_coroutine_is_awaited_on_the_loop(
    order: Order,
) -> None:
    shop = Shop()
    handler = PlainFunction(lambda order: shop.asynchronous(order), "shop:fulfil")  # noqa: PLW0108
    assert await run(handler, order) is SUCCEEDED
    assert shop.threads == [threading.current_thread()]

    async def exit_(order: Order) -> None:
        raise SystemExit(1)

    failed = await run(PlainFunction(lambda order: exit_(order), "shop:fulfil"), order)  # noqa: PLW0108
    assert isinstance(failed, Failed)
    assert failed.error.startswith("SystemExit: 1 (")


async def test_an_async_function_that_forgot_to_await_is_awaited(order: Order) -> None:
    shop = Shop()

    async def forgetful(order: Order) -> object:
        return shop.asynchronous(order)

    assert await run(AsyncFunction(forgetful, "shop:fulfil"), order) is SUCCEEDED
    assert shop.orders == [order]


async def test_a_returned_generator_is_a_failure_not_a_success(order: Order) -> None:
    def generate(order: Order) -> Iterator[int]:
        yield 1

    async def generate_async(order: Order) -> AsyncIterator[int]:
        yield 1

    for generator in (generate, generate_async):
        failed = await run(PlainFunction(generator, "shop:fulfil"), order)
        assert isinstance(failed, Failed)
        assert failed.error.startswith("TypeError: the handler returned a generator")


async def test_a_blocking_function_leaves_the_loop_free(order: Order) -> None:
    let_go = threading.Event()

    def block(order: Order) -> None:
        assert let_go.wait(DEADLINE)

    handler = PlainFunction(block, "shop:fulfil")
    call = asyncio.create_task(handler(order, OneAttempt()))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not call.done()
    let_go.set()
    await eventually(call.done)
    assert await call is SUCCEEDED
    await handler.close()
