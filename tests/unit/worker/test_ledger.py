"""What the ledger tells."""

from __future__ import annotations

from collections.abc import Callable

from fulfillment_worker.core.capacity import Capacity
from fulfillment_worker.core.decide import RetryPolicy
from fulfillment_worker.core.events import (
    AttemptEnded,
    Event,
    NoteLost,
    OrderDuplicated,
    OrderExpired,
    OrderInvalid,
    OrderPostponed,
    OrdersReceived,
)
from fulfillment_worker.core.exchange import (
    MOST_BYTES,
    Claimed,
    Holdings,
    Limited,
    Reply,
    Verdict,
)
from fulfillment_worker.core.outcome import (
    INTERRUPTED,
    SUCCEEDED,
    Dead,
    DeadReason,
    Fulfilled,
    Result,
    Scheduled,
    Succeeded,
)
from fulfillment_worker.core.timing import TimeRules
from fulfillment_worker.worker.delivery import Delivery
from fulfillment_worker.worker.intake import OrderRules
from fulfillment_worker.worker.ledger import Ledger

RULES = OrderRules(id_field="order_id", max_bytes=1000, retry=RetryPolicy(3, 0.001, 0.002))


class Nobody:
    """Owns deliveries whose attempts no executor runs."""

    def attempt_ended(self, delivery: Delivery, result: Result) -> None:
        raise AssertionError("no attempt runs here")


def ignore(_: Event) -> None:
    """Take no event."""


def new_ledger(tell: Callable[[Event], None], rules: OrderRules = RULES) -> Ledger:
    return Ledger("orders", rules, tell, Capacity(10), Nobody())


def test_an_order_that_redis_forgot_before_it_started_is_no_attempt() -> None:
    """It was held ready; the time of its attempt would be that since the host was started."""
    told: list[Event] = []
    ledger = new_ledger(told.append)
    claimed = Claimed(1, b'{"order_id": "A"}', 0, 0, 0, False)
    ledger.note(ledger.compose(claim=1), Reply(now=0, claimed=[claimed], first_claims=1))
    ledger.catch_up()
    ledger.note(ledger.compose(claim=0), Reply(now=0, verdicts=[Verdict.GO]))
    cleared = ledger.catch_up()
    assert ledger.reconcile(Holdings(now=0, number=2)) == cleared
    assert len(ledger) == 0
    assert not [event for event in told if isinstance(event, AttemptEnded)]


def claimed_again(raw: bytes) -> Claimed:
    """An order whose first attempt had begun as B."""
    return Claimed(1, raw, 1, 0, 0, False, "B")


def test_order_keeps_the_id_under_which_it_began_and_forgets_it_when_fulfilled() -> None:
    ledger = new_ledger(ignore)
    ledger.note(
        ledger.compose(claim=1), Reply(now=0, claimed=[claimed_again(b'{"order_id": "A"}')])
    )
    ledger.catch_up()
    (begin,) = ledger.compose(claim=0).begins
    assert begin.order_id == "B"
    ledger.note(ledger.compose(claim=0), Reply(now=0, verdicts=[Verdict.GO]))
    (delivery,) = ledger.catch_up()
    ledger.end(delivery, SUCCEEDED)
    exchange = ledger.compose(claim=0)
    assert exchange.outcomes == [Fulfilled(1, "B", 2)]
    assert exchange.forget == [1]


def test_invalid_order_that_had_begun_is_dead_under_its_id() -> None:
    """The size that is allowed was lowered, say: its status has to end, too."""
    ledger = new_ledger(ignore)
    claimed = claimed_again(b'{"order_id": "B", "x": "%s"}' % (b"x" * RULES.max_bytes))
    ledger.note(ledger.compose(claim=1), Reply(now=0, claimed=[claimed]))
    ledger.catch_up()
    (outcome,) = ledger.compose(claim=0).outcomes
    assert isinstance(outcome, Dead)
    assert (outcome.order_id, outcome.reason) == ("B", DeadReason.INVALID)


def test_suspect_is_counted_where_more_orders_were_received_than_claimed() -> None:
    """Those that were parked for their key are received, and nobody's."""
    ledger = new_ledger(ignore)
    suspect = Claimed(1, b'{"order_id": "A"}', 0, 2, 0, True)
    reply = Reply(now=0, claimed=[suspect], first_claims=5, limited=Limited.YES)
    ledger.note(ledger.compose(claim=1), reply)
    ledger.catch_up()
    assert ledger.compose(claim=0).suspects == 1


def test_question_has_a_higher_number_than_all_that_may_be_under_way() -> None:
    rules = OrderRules(id_field="order_id", max_bytes=MOST_BYTES, retry=RetryPolicy(3, 1, 2))
    ledger = new_ledger(ignore, rules)
    exchange = ledger.compose(claim=1)
    first = ledger.number_question()
    second = ledger.number_question()
    assert exchange.number < first < second
    ledger.reconcile(Holdings(now=0, number=second))
    assert ledger.compose(claim=1).number == second + 1
    assert ledger.number_question() > second + 1


def test_outcomes_that_move_large_orders_are_recorded_over_several_exchanges() -> None:
    """Redis moves the bytes of all but a success."""
    told: list[Event] = []
    rules = OrderRules(id_field="order_id", max_bytes=MOST_BYTES, retry=RetryPolicy(3, 1, 2))
    ledger = new_ledger(told.append, rules)
    raws = [b'{"order_id": "%d", "x": "%s"}' % (n, b"x" * (MOST_BYTES // 2)) for n in range(5)]
    claimed = [Claimed(n, raw, 0, 0, 0, False) for n, raw in enumerate(raws, 1)]
    ledger.note(ledger.compose(claim=5), Reply(now=0, claimed=claimed, first_claims=5))
    ledger.catch_up()
    ledger.note(ledger.compose(claim=0), Reply(now=0, verdicts=[Verdict.GO] * 5))
    for delivery in ledger.catch_up():
        ledger.end(delivery, INTERRUPTED)
    carried = []
    while ledger.has_news:
        exchange = ledger.compose(claim=0)
        carried.append(len(exchange.outcomes))
        ledger.note(exchange, Reply(now=0))
        ledger.catch_up()
    assert carried == [2, 2, 1]
    assert len(ledger) == 0


def test_notes_are_recorded_over_several_exchanges_where_they_are_many() -> None:
    ledger = new_ledger(ignore)
    claimed = [Claimed(n, b'{"order_id": "%d"}' % n, 0, 0, 0, False) for n in range(1, 6)]
    ledger.note(ledger.compose(claim=5), Reply(now=0, claimed=claimed, first_claims=5))
    ledger.catch_up()
    ledger.note(ledger.compose(claim=0), Reply(now=0, verdicts=[Verdict.GO] * 5))
    for delivery in ledger.catch_up():
        ledger.end(delivery, Succeeded("x" * (MOST_BYTES // 2)))
    carried = []
    while ledger.has_news:
        exchange = ledger.compose(claim=0)
        carried.append(len(exchange.outcomes))
        ledger.note(exchange, Reply(now=0))
        ledger.catch_up()
    assert carried == [2, 2, 1]


def test_note_that_can_not_be_kept_is_told_and_the_order_is_fulfilled() -> None:
    told: list[Event] = []
    ledger = new_ledger(told.append)
    claimed = [Claimed(1, b'{"order_id": "A"}', 0, 0, 0, False)]
    ledger.note(ledger.compose(claim=1), Reply(now=0, claimed=claimed, first_claims=1))
    ledger.catch_up()
    ledger.note(ledger.compose(claim=0), Reply(now=0, verdicts=[Verdict.GO]))
    (delivery,) = ledger.catch_up()
    ledger.end(delivery, Succeeded(fault="too large"))
    assert ledger.compose(claim=0).outcomes == [Fulfilled(1, "A", 1)]
    assert [each for each in told if isinstance(each, NoteLost)] == [
        NoteLost("orders", "A", "too large")
    ]


def test_oversized_orders_are_received_and_invalid() -> None:
    told: list[Event] = []
    ledger = new_ledger(told.append)
    ledger.note(ledger.compose(claim=1), Reply(now=0, oversized=[1001, 5000]))
    assert ledger.catch_up() == []
    received, *invalid = told
    assert received == OrdersReceived("orders", 2)
    assert [event.why for event in invalid if isinstance(event, OrderInvalid)] == [
        "too large: 1001 bytes, at most 1000 are allowed",
        "too large: 5000 bytes, at most 1000 are allowed",
    ]
    assert len(ledger) == 0


TIMED = OrderRules(
    id_field="order_id",
    max_bytes=1000,
    retry=RetryPolicy(3, 1, 2),
    times=TimeRules(max_age=60.0, not_before_field="from", expires_field="to"),
)
NOW = 1_800_000_000_000


def outcome_of(raw: bytes, first_seen: int = NOW) -> tuple[object, list[Event]]:
    """What becomes of an order that is claimed at NOW, and may begin (None where it starts)."""
    told: list[Event] = []
    ledger = new_ledger(told.append, TIMED)
    claimed = Claimed(1, raw, 0, 0, first_seen, False)
    ledger.note(ledger.compose(claim=1), Reply(now=NOW, claimed=[claimed]))
    ledger.catch_up()
    exchange = ledger.compose(claim=0)
    if exchange.begins:
        ledger.note(exchange, Reply(now=NOW, verdicts=[Verdict.GO]))
        ledger.catch_up()
        exchange = ledger.compose(claim=0)
    ledger.note(exchange, Reply(now=NOW))
    ledger.catch_up()
    return next(iter(exchange.outcomes), None), told


def test_order_that_may_not_start_yet_is_scheduled() -> None:
    outcome, told = outcome_of(b'{"order_id": "A", "from": 1800000060}')
    assert outcome == Scheduled(1, "A", 1, NOW + 60_000)
    (event,) = [event for event in told if isinstance(event, OrderPostponed)]
    assert (event.order_id, event.seconds, event.duration) == ("A", 60.0, None)
    assert outcome_of(b'{"order_id": "A", "from": 1800000000, "to": "soon"}')[0] is None


def test_order_that_expired_is_a_dead_letter() -> None:
    outcome, told = outcome_of(b'{"order_id": "A", "to": 1800000000}')
    assert isinstance(outcome, Dead)
    assert (outcome.reason, outcome.order_id) == (DeadReason.EXPIRED, "A")
    (event,) = [event for event in told if isinstance(event, OrderExpired)]
    assert event.why == "it expired, by its field 'to'"


def test_order_first_seen_too_long_ago_is_a_dead_letter() -> None:
    outcome, _ = outcome_of(b'{"order_id": "A"}', NOW - 60_000)
    assert isinstance(outcome, Dead)
    assert outcome.error == "it was first seen 60 s ago: at most 60 s are allowed"
    assert outcome_of(b'{"order_id": "A"}', NOW - 59_999)[0] is None


def test_expired_copy_of_a_fulfilled_order_is_a_duplicate() -> None:
    told: list[Event] = []
    ledger = new_ledger(told.append, TIMED)
    claimed = Claimed(1, b'{"order_id": "A", "to": 1800000000}', 0, 0, NOW, False)
    ledger.note(ledger.compose(claim=1), Reply(now=NOW, claimed=[claimed]))
    ledger.catch_up()
    ledger.note(ledger.compose(claim=0), Reply(now=NOW, verdicts=[Verdict.DUPLICATE]))
    ledger.catch_up()
    assert [event for event in told if isinstance(event, OrderDuplicated)]
    assert not ledger.has_news


def test_order_that_waits_for_its_time_until_it_is_too_old_is_a_dead_letter() -> None:
    outcome, _ = outcome_of(b'{"order_id": "A", "from": 1900000000}', NOW - 60_000)
    assert isinstance(outcome, Dead)
    assert outcome.reason is DeadReason.EXPIRED
