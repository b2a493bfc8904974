"""How many orders a worker takes while it is short of threads, descriptors or memory."""

from __future__ import annotations

from fulfillment_worker.core.decide import RetryPolicy, decide
from fulfillment_worker.core.outcome import Requeued, Unattempted
from fulfillment_worker.core.shortage import ShortageLimit


def test_shortage_limits_orders_to_those_that_run() -> None:
    limit = ShortageLimit(50)
    assert limit.room(0.0) is None
    limit.short(20, 0.0)
    assert limit.room(0.5) == 20


def test_shortage_limit_rises_step_by_step_until_it_is_over() -> None:
    limit = ShortageLimit(50)
    limit.short(20, 0.0)
    rooms = [limit.room(float(second)) for second in range(1, 7)]
    assert rooms == [25, 31, 38, 47, None, None]


def test_shortage_limit_rises_from_none_at_all() -> None:
    limit = ShortageLimit(3)
    limit.short(0, 0.0)
    assert [limit.room(float(second)) for second in (0, 1, 2, 3)] == [0, 1, 2, None]


def test_shortage_limit_rises_while_nobody_asks() -> None:
    limit = ShortageLimit(50)
    limit.short(0, 0.0)
    assert limit.room(5.0) == 5
    assert limit.room(100.0) is None


def test_shortage_that_goes_on_is_tried_less_and_less_often() -> None:
    limit, now, tried = ShortageLimit(50), 0.0, []
    limit.short(20, now)
    while now < 60:
        now += 0.5
        if limit.room(now) != 20:
            tried.append(now)
            for _ in range(5):  # all that were too many
                limit.short(20, now)
    assert tried == [1.0, 3.0, 7.0, 15.0, 23.0, 31.0, 39.0, 47.0, 55.0]


def test_shortage_costs_an_order_no_attempt() -> None:
    policy = RetryPolicy(max_attempts=1, base=1.0, cap=1.0)
    assert decide(9, "A", 1, Unattempted("no thread"), policy, 0.5) == Requeued(9, "A", 1)
