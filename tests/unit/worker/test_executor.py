"""Attempts: whatever a handler does, it ends as one result, and the next ones go on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import threading
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

import msgspec
import pytest

from fulfillment_worker import Order, Reject, Retry
from fulfillment_worker.core.attempt import Attempt
from fulfillment_worker.core.capacity import Capacity
from fulfillment_worker.core.exchange import Claimed
from fulfillment_worker.core.outcome import (
    INTERRUPTED,
    SUCCEEDED,
    Failed,
    FailureReason,
    Rejected,
    Result,
    Stopped,
    Unattempted,
    Withdrawal,
)
from fulfillment_worker.handlers.function import AsyncFunction, PlainFunction
from fulfillment_worker.worker.delivery import Delivery, Owner, Stage
from fulfillment_worker.worker.executor import Executor
from tests.unit.handlers.waiting import eventually

Fulfil = Callable[[Order], Awaitable[None]]


class Bench:
    """An executor, and the results that it told."""

    def __init__(self, handler: Fulfil, order_timeout: float = 30.0, at_once: int = 10_000) -> None:
        self.capacity = Capacity(at_once)
        self.executor = Executor(AsyncFunction(self._handle, "shop"), order_timeout, self.capacity)
        self.results: dict[str, Result] = {}
        self.changed = asyncio.Event()
        self._handler = handler

    def start(self, *order_ids: str) -> list[Delivery]:
        deliveries = [_delivery(number, each, self) for number, each in enumerate(order_ids)]
        self.executor.start(deliveries)
        return deliveries

    async def until_ended(self, many: int) -> None:
        await self._until(lambda: len(self.results) >= many)

    async def until_running(self, many: int) -> None:
        await self._until(lambda: self.capacity.running >= many)

    def _handle(self, order: Order) -> Awaitable[None]:
        self.changed.set()
        return self._handler(order)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(120):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def attempt_ended(self, delivery: Delivery, result: Result) -> None:
        if delivery.stage is not Stage.READY:
            self.capacity.stopped()
        delivery.stage = Stage.ENDED
        assert delivery.order is not None
        assert delivery.order.id not in self.results, "told once"
        self.results[delivery.order.id] = result
        self.changed.set()


class Results(asyncio.Queue[Result]):
    """Owns deliveries, and keeps how they ended."""

    def attempt_ended(self, delivery: Delivery, result: Result) -> None:
        delivery.stage = Stage.ENDED
        self.put_nowait(result)


def _delivery(number: int, order_id: str, owner: Owner) -> Delivery:
    delivery = Delivery(Claimed(number, b"{}", 0, 0, 0, False), owner)
    delivery.stage = Stage.READY
    delivery.order = Order(id=order_id, attempt=1, body={}, raw=b"{}", queue="orders")
    return delivery


class Silent(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class Evasive(Retry):
    def __getattribute__(self, name: str) -> Any:
        if name == "after":
            raise SystemExit(4)
        return super().__getattribute__(name)


class Broken:
    def __await__(self) -> Generator[None, None, None]:
        raise OSError("no")


@types.coroutine
def old_style(order: Order) -> Generator[None, None, None]:
    yield
    yield


async def raise_system_exit(order: Order) -> None:
    raise SystemExit(3)


async def raise_keyboard_interrupt(order: Order) -> None:
    raise KeyboardInterrupt


async def raise_generator_exit(order: Order) -> None:
    raise GeneratorExit


async def raise_group(order: Order) -> None:
    raise BaseExceptionGroup("two", [SystemExit(1), KeyboardInterrupt()])


async def raise_stop_iteration(order: Order) -> None:
    raise StopIteration(1)


async def raise_cancelled(order: Order) -> None:
    raise asyncio.CancelledError


async def cancel_itself_and_wait(order: Order) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancel_itself_and_return(order: Order) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def raise_without_text(order: Order) -> None:
    raise Silent


async def retry_endlessly_later(order: Order) -> None:
    raise Retry("later", after=10**400)


async def retry_evasively(order: Order) -> None:
    raise Evasive("later")


async def reject_without_text(order: Order) -> None:
    class Mute(Silent, Reject):
        pass

    raise Mute


async def fail_in_a_group(order: Order) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(raise_error(order))


async def raise_error(order: Order) -> None:
    raise ValueError("oh")


async def group_without_wait(order: Order) -> None:
    async with asyncio.timeout(120), asyncio.TaskGroup():
        pass


async def let_its_own_time_run_out(order: Order) -> None:
    async with asyncio.timeout(0.001):
        await asyncio.Event().wait()


def return_nothing(order: Order) -> Any:
    return None


def return_what_breaks(order: Order) -> Any:
    return Broken()


def handler_failed(error: str) -> Failed:
    return Failed(FailureReason.HANDLER, error)


def bare(result: Result) -> Result:
    """Without the traceback, and the places in the code: those are tests/unit/core's."""
    if not isinstance(result, Failed | Rejected):
        return result
    error = re.sub(r" \([\w./]+:\d+ in [^)]+\)", "", result.error)
    return msgspec.structs.replace(result, error=error, traceback="")


NO_TEXT = "(its text could not be had)"


@pytest.mark.parametrize(
    ("handler", "result"),
    [
        (raise_system_exit, handler_failed("SystemExit: 3")),
        (raise_keyboard_interrupt, handler_failed("KeyboardInterrupt")),
        (raise_generator_exit, handler_failed("GeneratorExit")),
        (raise_group, handler_failed("two: KeyboardInterrupt; SystemExit: 1")),
        (
            raise_stop_iteration,
            handler_failed(
                "RuntimeError: coroutine raised StopIteration, because of StopIteration: 1"
            ),
        ),
        (raise_cancelled, handler_failed("CancelledError")),
        (cancel_itself_and_wait, handler_failed("the handler cancelled itself")),
        (cancel_itself_and_return, SUCCEEDED),
        (raise_without_text, handler_failed(f"Silent: {NO_TEXT}")),
        (retry_endlessly_later, Failed(FailureReason.DEPENDENCY, "later", None)),
        (retry_evasively, Failed(FailureReason.DEPENDENCY, "later", None)),
        (reject_without_text, Rejected(NO_TEXT)),
        (
            fail_in_a_group,
            handler_failed("ValueError: oh"),
        ),
        (group_without_wait, SUCCEEDED),
        (let_its_own_time_run_out, handler_failed("TimeoutError")),
        (return_what_breaks, handler_failed("OSError: no")),
        (old_style, SUCCEEDED),
    ],
)
async def test_it_ends_as_one_result_and_others_go_on(handler: Any, result: Result) -> None:
    async def shop(order: Order) -> None:
        if order.id != "good":
            await handler(order)

    bench = Bench(shop)
    bench.start("A", "good", "B")
    await bench.until_ended(3)
    results = {name: bare(result) for name, result in bench.results.items()}
    assert results == {"A": result, "good": SUCCEEDED, "B": result}
    assert bench.capacity.running == 0


async def test_a_handler_that_returns_nothing_to_wait_for_has_failed() -> None:
    bench = Bench(return_nothing)
    bench.start("A")
    await bench.until_ended(1)
    (failed,) = bench.results.values()
    assert isinstance(failed, Failed)
    assert failed.error.startswith("TypeError: ")


async def wait(order: Order) -> None:
    await asyncio.Event().wait()


async def wait_within_a_time_of_its_own(order: Order) -> None:
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        group.create_task(wait(order))


async def swallow_and_return(order: Order) -> None:
    try:
        await wait(order)
    except asyncio.CancelledError:
        return


async def swallow_and_raise(order: Order) -> None:
    try:
        await wait(order)
    except asyncio.CancelledError:
        raise Reject("no") from None


LATE = Failed(FailureReason.TIMEOUT, "no result within 0.02 s")


@pytest.mark.parametrize(
    ("handler", "aborted"),
    [
        (wait, INTERRUPTED),
        (wait_within_a_time_of_its_own, INTERRUPTED),
        (swallow_and_return, SUCCEEDED),
        (swallow_and_raise, INTERRUPTED),
    ],
)
async def test_it_is_cut_short(handler: Fulfil, aborted: Result) -> None:
    late = Bench(handler, order_timeout=0.02)
    late.start("A", "B")
    await late.until_ended(2)
    assert {name: bare(result) for name, result in late.results.items()} == {"A": LATE, "B": LATE}
    bench = Bench(handler)
    deliveries = bench.start("A", "B")
    await bench.until_running(2)
    bench.executor.abort(deliveries)
    await bench.until_ended(2)
    assert bench.results == {"A": aborted, "B": aborted}


@pytest.mark.parametrize(
    ("result", "late", "aborted"),
    [
        (SUCCEEDED, LATE, SUCCEEDED),
        (Failed(FailureReason.DEPENDENCY, "it answered 503"), LATE, INTERRUPTED),
        (Rejected("it answered 422"), LATE, INTERRUPTED),
        (Unattempted("no descriptor is left"), LATE, INTERRUPTED),
    ],
)
async def test_result_after_the_time_is_up_does_not_count(
    result: Result, late: Result, aborted: Result
) -> None:
    """Nor does any but a success after an abort."""

    running = asyncio.Event()

    async def answer_late(order: Order, attempt: Attempt) -> Result:
        running.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return result

    ended = Results()
    executor = Executor(answer_late, 0.02, Capacity(1))
    executor.start([_delivery(1, "A", ended)])
    assert await asyncio.wait_for(ended.get(), 120) == late
    running.clear()
    executor = Executor(answer_late, 30.0, Capacity(1))
    delivery = _delivery(2, "B", ended)
    executor.start([delivery])
    await running.wait()
    executor.abort([delivery])
    assert await asyncio.wait_for(ended.get(), 120) == aborted


async def never_begun() -> None:
    raise AssertionError("an attempt that was cut short begins nothing")


@pytest.mark.parametrize(
    ("how", "late", "aborted"),
    [
        ("returns", LATE, SUCCEEDED),
        ("raises", LATE, INTERRUPTED),
        ("returns a coroutine", LATE, INTERRUPTED),
    ],
)
async def test_plain_function_that_ends_after_it_was_cut_short(
    how: str, late: Result, aborted: Result
) -> None:
    """As an async one: a success stands after an abort, and not after a time-out."""
    began, let_go = threading.Event(), threading.Event()

    def fulfil(order: Order) -> Any:
        began.set()
        let_go.wait(120)
        if how == "raises":
            raise ValueError("oh")
        return never_begun() if how == "returns a coroutine" else None

    handler = PlainFunction(fulfil, "shop")
    ended = Results()
    for cut_short, expected in ((LATE, late), (INTERRUPTED, aborted)):
        delivery = _delivery(1, "A", ended)
        executor = Executor(handler, 0.02 if cut_short is LATE else 30.0, Capacity(1))
        executor.start([delivery])
        await asyncio.to_thread(began.wait, 120)
        if cut_short is INTERRUPTED:
            executor.abort([delivery])
        await eventually(lambda: delivery.cut_short is not None)  # noqa: B023 - of this round
        let_go.set()
        assert bare(await asyncio.wait_for(ended.get(), 120)) == expected
        began.clear()
        let_go.clear()
    await handler.close()


async def test_what_has_not_started_is_given_back_by_an_abort() -> None:
    bench = Bench(wait)
    bench.executor.abort(bench.start("A"))
    assert bench.results == {"A": INTERRUPTED}
    await asyncio.sleep(0.01)
    assert bench.capacity.running == 0


async def test_what_is_discarded_tells_nothing_and_cuts_nobody_else_short() -> None:
    """The quick one before it was in the same task."""
    gate = asyncio.Event()

    async def fulfil(order: Order) -> None:
        if order.id != "quick":
            await gate.wait()

    bench = Bench(fulfil)
    quick, discarded, kept = bench.start("quick", "discarded", "kept")
    await bench.until_running(2)
    bench.executor.discard([quick, discarded])
    await asyncio.sleep(0)
    gate.set()
    await bench.until_ended(2)
    assert bench.results == {"quick": SUCCEEDED, "kept": SUCCEEDED}
    assert kept.task is not None
    assert kept.task.cancelling() == 0


@pytest.fixture
async def destroyed() -> AsyncIterator[list[str]]:
    """What the loop tells of tasks that nobody refers to any more."""
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    yield told
    loop.set_exception_handler(None)


async def test_a_given_up_handler_may_be_collected(destroyed: list[str]) -> None:
    """Nobody refers to what it waits for, nor to its task."""

    async def fulfil(order: Order) -> None:
        while order.id == "stubborn":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    bench = Bench(fulfil, order_timeout=0.01)
    bench.start("stubborn")
    await bench.until_ended(1)
    await asyncio.sleep(0.02)
    gc.collect()
    assert destroyed == ["Task was destroyed but it is pending!"]
    bench.start("A", "B")
    await bench.until_ended(3)
    assert bench.results["B"] is SUCCEEDED


async def test_withdrawn_delivery_that_waits_for_room_ends_without_an_attempt() -> None:
    started: list[str] = []

    async def hang(order: Order) -> None:
        started.append(order.id)
        await asyncio.get_running_loop().create_future()

    bench = Bench(hang, at_once=1)
    deliveries = bench.start("A", "B", "C")
    await bench.until_running(1)
    stops = {1: Withdrawal.HELD, 99: Withdrawal.CANCELLED}
    bench.executor.withdraw(deliveries, stops)
    await bench.until_ended(1)
    assert bench.results == {"B": Stopped(Withdrawal.HELD)}
    bench.executor.withdraw(deliveries, {0: Withdrawal.CANCELLED})
    bench.executor.withdraw(deliveries, {0: Withdrawal.CANCELLED})
    await bench.until_ended(2)
    assert bench.results["A"] == Stopped(Withdrawal.CANCELLED)
    await bench.until_running(1)
    assert started == ["A", "C"]
    bench.executor.discard(deliveries[2:])
