"""The demo's tally: what is counted, what is worth a line, and when all have ended."""

from __future__ import annotations

import pytest

from fulfillment_worker.core.breaker import BreakerState
from fulfillment_worker.core.events import (
    BreakerChanged,
    Event,
    LeaseLost,
    OrderDuplicated,
    OrderInvalid,
    OrdersReceived,
    OrdersRecovered,
    QueueLost,
    QueueRegained,
    QueueSurveyed,
)
from fulfillment_worker.demo.tally import DemoEvent, DemoSeverity, Tally
from tests.unit.demo.support import (
    exhausted,
    failed,
    fenced,
    fulfilled,
    rejected,
    survey,
)

RUBBISH = OrderInvalid("orders", "w", 1, "not JSON")


class Audience:
    """A tally of so many orders, all of them placed already, and what it told."""

    def __init__(self, *placed: str, orders: int | None = None) -> None:
        self.tally = Tally(orders)
        self.told: list[DemoEvent] = []
        self.completed = 0
        self.tally.notice = self.told.append
        self.tally.on_complete = self._complete
        if placed:
            self.tally.placing(placed)
            self.tally.placed_all(len(placed))

    def _complete(self) -> None:
        self.completed += 1

    def observe(self, *events: Event) -> None:
        for event in events:
            self.tally.observe(event)

    @property
    def lines(self) -> list[str]:
        return [demo_event.text for demo_event in self.told]


def test_an_order_that_goes_well_is_worth_a_line_only_if_it_is_the_first() -> None:
    audience = Audience("A", "B")
    audience.observe(fulfilled("A"), fulfilled("B"))
    assert audience.lines == ["order A fulfilled in 12 ms"]
    assert audience.tally.fulfilled == 2


def test_a_retry_is_told_and_so_is_how_it_went() -> None:
    audience = Audience("A")
    audience.observe(failed("A", retry_in=0.25), fulfilled("A", attempt=2))
    assert audience.told == [
        DemoEvent(DemoSeverity.AGAIN, "order A failed, again in 250 ms: it broke"),
        DemoEvent(DemoSeverity.GOOD, "order A fulfilled after 2 attempts"),
    ]
    tally = audience.tally
    assert (tally.attempts, tally.failed, tally.retried, tally.after_retry) == (2, 1, 1, 1)


def test_orders_of_others_are_always_told() -> None:
    audience = Audience("A", "B")
    audience.observe(fulfilled("A"), fulfilled("mine-1", duration=1.26))
    assert audience.lines[1:] == ["order mine-1 fulfilled in 1.3 s"]


@pytest.mark.parametrize(
    ("event", "counted", "line"),
    [
        (rejected("A"), "rejected", "order A rejected: no such SKU"),
        (exhausted("A", 5), "exhausted", "order A given up after 5 attempts: it broke"),
        (RUBBISH, "invalid", "an entry that is no order was put aside: not JSON"),
    ],
)
def test_dead_letters_are_told_with_their_reason(event: Event, counted: str, line: str) -> None:
    audience = Audience("A")
    audience.observe(event)
    assert audience.told == [DemoEvent(DemoSeverity.BAD, line)]
    assert getattr(audience.tally, counted) == audience.tally.dead == audience.tally.ended == 1


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (QueueLost("orders", "Redis is away"), "Redis is away"),
        (QueueRegained("orders", 1.5), "Redis answers again, after 1.5 s"),
        (
            LeaseLost("orders", "w", 3),
            "the worker was silent for too long: 3 orders are put back",
        ),
        (OrdersRecovered("orders", 3, 0), "3 orders of a worker that is gone were put back"),
        (
            BreakerChanged(BreakerState.OPEN),
            "nearly all attempts failed of late: the breaker is open now",
        ),
        (fenced("A"), "order A runs again: the lease had run out"),
    ],
)
def test_trouble_is_told(event: Event, line: str) -> None:
    audience = Audience("A")
    audience.observe(event)
    assert audience.told == [DemoEvent(DemoSeverity.TROUBLE, line)]


def test_what_is_no_news_is_not_told() -> None:
    audience = Audience("A")
    audience.observe(QueueRegained("orders", 0.1, first=True), OrdersReceived("orders", 1))
    assert audience.told == []


def test_it_is_complete_when_the_last_one_has_ended_and_says_so_once() -> None:
    audience = Audience("A", "B", "C", "", orders=4)
    audience.observe(fulfilled("A"), rejected("B"), RUBBISH, failed("C"))
    assert audience.completed == 0
    audience.observe(OrderDuplicated("orders", "C"))
    assert audience.completed == 1
    audience.observe(fulfilled("mine-1"))
    assert audience.completed == 1


def test_an_order_may_be_fulfilled_before_its_placing_was_confirmed() -> None:
    audience = Audience(orders=1)
    audience.tally.placing(["A"])
    audience.observe(fulfilled("A"))
    assert audience.completed == 0
    audience.tally.placed_all(1)
    assert audience.completed == 1


def test_orders_of_others_do_not_end_it() -> None:
    audience = Audience("A", orders=1)
    audience.observe(fulfilled("mine-1"), fulfilled("mine-2"))
    assert audience.completed == 0


def test_an_orphaned_order_has_ended_though_nobody_says_which() -> None:
    audience = Audience("A", "B", orders=2)
    audience.observe(OrdersRecovered("orders", 2, 1), fulfilled("A"))
    assert audience.completed == 1


def test_what_other_workers_fulfil_is_seen_in_a_survey() -> None:
    audience = Audience("A", "B", orders=2)
    audience.tally.received_before = 10
    left = survey(received=12, fulfilled=11, in_flight=1)
    before_it_arrived = survey(received=11, fulfilled=11)
    audience.observe(QueueSurveyed("orders", left), QueueSurveyed("orders", before_it_arrived))
    assert audience.completed == 0
    audience.observe(QueueSurveyed("orders", survey(received=12, fulfilled=12)))
    assert audience.completed == 1


def test_without_an_end_it_never_completes() -> None:
    audience = Audience("A")
    audience.observe(fulfilled("A"), QueueSurveyed("orders", survey(received=1, fulfilled=1)))
    assert audience.completed == 0


def test_orders_that_were_withdrawn_are_not_waited_for() -> None:
    audience = Audience("A", orders=None)
    audience.tally.placing(["B"])
    audience.tally.withdrawn(["B"])
    audience.observe(fulfilled("A"))
    assert audience.tally.open == 0
