"""Which attempts share a task, and that none of them notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from types import SimpleNamespace

import pytest

from fulfillment_worker.core.capacity import Capacity
from fulfillment_worker.core.exchange import Claimed
from fulfillment_worker.core.outcome import Result
from fulfillment_worker.worker import task_pool
from fulfillment_worker.worker.delivery import Delivery, Stage
from fulfillment_worker.worker.task_pool import TaskPool

Task = asyncio.Task[None]
note: ContextVar[object] = ContextVar("note")


def work(seconds: float) -> None:
    """Take the loop's time, as computing does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


class Bench:
    """A pool, and what ran in it: for each number its task, in the order of the starts."""

    def __init__(self, handler: Callable[[int], Awaitable[None]], slots: int = 10_000) -> None:
        self._handler = handler
        self._capacity = Capacity(slots)
        self.pool = TaskPool(self._attempt, self._capacity, self._give_back)
        self.tasks: dict[int, Task] = {}
        self.ended: list[int] = []
        self.given_back: list[int] = []
        self.found: dict[int, object] = {}
        self._changed = asyncio.Event()

    def add(self, *numbers: int) -> list[Delivery]:
        deliveries = [Delivery(Claimed(n, b"{}", 0, 0, 0, False), self) for n in numbers]
        for delivery in deliveries:
            delivery.stage = Stage.READY
        self.pool.add(deliveries)
        return deliveries

    async def until_ended(self, many: int) -> None:
        await self.until(lambda: len(self.ended) >= many)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(120):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def _attempt(self, delivery: Delivery, task: Task) -> None:
        assert task is asyncio.current_task()
        delivery.stage = Stage.RUNNING
        self._capacity.started()
        self.tasks[delivery.id] = task
        self.found[delivery.id] = note.get(None)
        self._changed.set()
        await self._handler(delivery.id)
        self._capacity.stopped()
        self.ended.append(delivery.id)
        self._changed.set()
        self.pool.go_on()

    def attempt_ended(self, delivery: Delivery, result: Result) -> None:
        raise AssertionError("the pool reports to its executor")

    def _give_back(self, delivery: Delivery) -> None:
        delivery.stage = Stage.ENDED
        self.given_back.append(delivery.id)
        self._changed.set()


@pytest.fixture
async def made() -> list[str]:
    """The names of the tasks made from here on."""
    loop, names = asyncio.get_running_loop(), []

    def factory(loop: asyncio.AbstractEventLoop, coro: object, **more: object) -> Task:
        names.append(getattr(coro, "__name__", ""))
        return asyncio.Task(coro, loop=loop, **more)  # type: ignore[arg-type]

    loop.set_task_factory(factory)  # type: ignore[arg-type]
    return names


async def test_orders_that_do_not_wait_share_a_task() -> None:
    async def fulfil(number: int) -> None:
        pass

    bench = Bench(fulfil)
    bench.add(*range(500))
    await bench.until_ended(500)
    assert bench.ended == list(range(500))
    assert len(set(bench.tasks.values())) < 50


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
async def test_shortage_of_memory_for_a_task_is_overcome() -> None:
    async def fulfil(number: int) -> None:
        pass

    left = [MemoryError(), MemoryError()]

    def factory(loop: asyncio.AbstractEventLoop, coro: object, **more: object) -> Task:
        if left and getattr(coro, "__name__", "") == "_run":
            raise left.pop()
        return asyncio.Task(coro, loop=loop, **more)  # type: ignore[arg-type]

    asyncio.get_running_loop().set_task_factory(factory)  # type: ignore[arg-type]
    bench = Bench(fulfil)
    bench.add(1, 2, 3)
    await bench.until_ended(3)
    assert bench.ended == [1, 2, 3]
    assert not left


async def test_orders_that_wait_run_side_by_side_in_tasks_of_their_own() -> None:
    gate = asyncio.Event()

    async def fulfil(number: int) -> None:
        await gate.wait()

    bench = Bench(fulfil)
    bench.add(*range(300))
    await bench.until(lambda: len(bench.tasks) == 300)
    assert bench.ended == []
    assert len(set(bench.tasks.values())) == 300
    gate.set()
    await bench.until_ended(300)


async def test_all_start_in_the_order_in_which_they_were_given() -> None:
    async def fulfil(number: int) -> None:
        for _ in range(number % 3):
            await asyncio.sleep(0)

    bench = Bench(fulfil)
    for first in range(0, 300, 60):
        bench.add(*range(first, first + 60))
        await asyncio.sleep(0)
    await bench.until_ended(300)
    assert list(bench.tasks) == list(range(300))


async def test_who_waited_does_not_carry_another() -> None:
    """Not even where there was nobody to take over, and orders came just then."""
    bench: Bench

    async def fulfil(number: int) -> None:
        if number == 0:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            bench.add(1, 2)

    bench = Bench(fulfil)
    bench.add(0)
    await bench.until_ended(3)
    assert bench.tasks[0] is not bench.tasks[1]
    assert bench.tasks[1] is bench.tasks[2]


async def test_a_new_carrier_goes_on_where_one_waits() -> None:
    gate = asyncio.Event()

    async def fulfil(number: int) -> None:
        if number == 1:
            await gate.wait()

    bench = Bench(fulfil)
    bench.add(*range(10))
    await bench.until_ended(9)
    assert bench.ended == [0, *range(2, 10)]
    gate.set()
    await bench.until_ended(10)


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


def leave_a_note() -> None:
    note.set("left behind")


def leave_what_cannot_be_compared() -> None:
    note.set(Incomparable())
    note.set(Incomparable())


def leave_a_cancel() -> None:
    current().cancel()


def leave_a_cancel_that_was_taken_back() -> None:
    current().cancel()
    current().uncancel()


def current() -> Task:
    task = asyncio.current_task()
    assert task is not None
    return task


@pytest.mark.parametrize(
    "leave",
    [
        leave_a_note,
        leave_what_cannot_be_compared,
        leave_a_cancel,
        leave_a_cancel_that_was_taken_back,
    ],
)
async def test_what_one_leaves_behind_the_next_does_not_find(leave: Callable[[], None]) -> None:
    note.set(Incomparable())
    before = note.get()

    async def fulfil(number: int) -> None:
        if number == 0:
            leave()
        else:
            await asyncio.sleep(0)

    bench = Bench(fulfil)
    bench.add(0, 1, 2)
    await bench.until_ended(3)
    assert bench.found[1] is bench.found[2] is before
    await asyncio.sleep(0)
    assert all(task.cancelled() or not task.exception() for task in bench.tasks.values())


async def test_what_is_put_back_as_it_was_costs_no_task() -> None:
    """As traces do it."""

    async def fulfil(number: int) -> None:
        token = note.set(number)
        note.reset(token)

    bench = Bench(fulfil)
    bench.add(*range(100))
    await bench.until_ended(100)
    assert len(set(bench.tasks.values())) < 20


async def test_work_in_slices_keeps_nobody_from_starting() -> None:
    """Every turn of the loop is long then, by what is no fault of those who want to start."""
    done = asyncio.Event()

    async def fulfil(number: int) -> None:
        while number == 0 and not done.is_set():
            work(0.007)
            await asyncio.sleep(0)

    bench = Bench(fulfil)
    bench.add(0)
    await asyncio.sleep(0.02)
    bench.add(1, 2, 3)
    await bench.until_ended(3)
    done.set()
    await bench.until_ended(4)
    assert bench.ended == [1, 2, 3, 0]


async def test_a_stream_of_quick_orders_keeps_nobody_from_going_on() -> None:
    turns = 0

    async def fulfil(number: int) -> None:
        nonlocal turns
        while number == 0 and len(bench.ended) < 999:
            turns += 1
            await asyncio.sleep(0)
        work(0.0002)

    bench = Bench(fulfil)
    bench.add(*range(1000))
    await bench.until_ended(1000)
    # 0.2 s of work at least, in turns of 5 ms.
    assert turns >= 20


async def test_no_more_tasks_are_made_than_can_start(made: list[str]) -> None:
    """With some work before the wait, a turn has time for a few only."""

    async def fulfil(number: int) -> None:
        work(0.001)
        await asyncio.sleep(0.001)

    bench = Bench(fulfil)
    bench.add(*range(200))
    await bench.until_ended(200)
    assert made.count("_run") < 200 * 4


async def test_delivery_that_is_not_ready_any_more_is_not_started() -> None:
    gate = asyncio.Event()

    async def fulfil(number: int) -> None:
        await gate.wait()

    bench = Bench(fulfil)
    bench.add(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for delivery, stage in zip(bench.add(1, 2, 3), (Stage.GONE, Stage.ENDED), strict=False):
        delivery.stage = stage
    gate.set()
    await bench.until_ended(2)
    bench.add(4)
    await bench.until_ended(3)
    assert sorted(bench.tasks) == [0, 3, 4]


async def test_all_deliveries_may_go_just_before_they_start() -> None:
    async def fulfil(number: int) -> None:
        pass

    bench = Bench(fulfil)
    for delivery in bench.add(*range(5)):
        delivery.stage = Stage.GONE
    await asyncio.sleep(0)
    bench.add(5)
    await bench.until_ended(1)
    assert bench.ended == [5]


async def test_no_more_run_than_there_is_room_for() -> None:
    running: set[int] = set()
    most = 0

    async def fulfil(number: int) -> None:
        nonlocal most
        running.add(number)
        most = max(most, len(running))
        await asyncio.sleep(0.001 * (number % 3))
        running.discard(number)

    bench = Bench(fulfil, slots=7)
    bench.add(*range(100))
    await bench.until_ended(100)
    assert most == 7
    assert list(bench.tasks) == list(range(100))
    assert bench.given_back == []


async def test_one_at_a_time_is_one_at_a_time() -> None:
    async def fulfil(number: int) -> None:
        assert len(bench.tasks) - len(bench.ended) == 1
        if number % 2:
            await asyncio.sleep(0)

    bench = Bench(fulfil, slots=1)
    bench.add(*range(20))
    await bench.until_ended(20)
    assert bench.ended == list(range(20))


async def test_who_finds_no_room_for_long_is_given_back() -> None:
    gate = asyncio.Event()

    async def fulfil(number: int) -> None:
        await gate.wait()

    bench = Bench(fulfil, slots=2)
    bench.add(0, 1, 2, 3)
    await bench.until(lambda: len(bench.given_back) == 2)
    assert bench.given_back == [2, 3]
    bench.add(4)
    gate.set()
    await bench.until_ended(3)
    assert sorted(bench.tasks) == [0, 1, 4]


async def test_who_waits_because_the_loop_is_busy_is_not_given_back() -> None:
    """There is room; another worker on this machine would be no quicker."""

    async def fulfil(number: int) -> None:
        work(0.03)

    bench = Bench(fulfil)
    bench.add(*range(10))
    await bench.until_ended(10)
    assert bench.given_back == []


async def test_wait_for_room_ends_at_the_very_instant_for_which_it_was_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However that rounds: a clock that stands still shows it."""
    patience = task_pool._PATIENCE
    # 0.1 s later, the same sum as a difference is less than 0.1 s.
    since = next(at / 7 for at in range(1, 1000) if at / 7 > at / 7 + patience - patience)
    now = since
    monkeypatch.setattr(task_pool, "time", SimpleNamespace(monotonic=lambda: now))

    async def fulfil(number: int) -> None:
        raise AssertionError("there is no room")

    bench = Bench(fulfil, slots=0)
    bench.add(0)
    now = since + patience
    await bench.until(lambda: bench.given_back == [0])
