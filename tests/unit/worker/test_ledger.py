"""What the ledger tells."""

from __future__ import annotations

from fulfillment_worker.core.decide import RetryPolicy
from fulfillment_worker.core.events import AttemptEnded
from fulfillment_worker.core.exchange import Claimed, Holdings, Reply, Verdict
from fulfillment_worker.core.outcome import SUCCEEDED, Dead, DeadReason, Fulfilled
from fulfillment_worker.worker.ledger import Ledger, OrderRules

RULES = OrderRules(id_field="order_id", max_bytes=1000, retry=RetryPolicy(3, 0.001, 0.002))


def test_an_order_that_redis_forgot_before_it_started_is_no_attempt() -> None:
    """It was held ready; the time of its attempt would be that since the host was started."""
    told: list[object] = []
    ledger = Ledger("orders", RULES, told.append)
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
    ledger = Ledger("orders", RULES, lambda _: None)
    ledger.note(
        ledger.compose(claim=1), Reply(now=0, claimed=[claimed_again(b'{"order_id": "A"}')])
    )
    ledger.catch_up()
    (begin,) = ledger.compose(claim=0).begins
    assert begin.order_id == "B"
    ledger.note(ledger.compose(claim=0), Reply(now=0, verdicts=[Verdict.GO]))
    (delivery,) = ledger.catch_up()
    ledger.end(delivery, SUCCEEDED)
    trip = ledger.compose(claim=0)
    assert trip.outcomes == [Fulfilled(1, "B", 2)]
    assert trip.forget == [1]


def test_invalid_order_that_had_begun_is_dead_under_its_id() -> None:
    """The size that is allowed was lowered, say: its status has to end, too."""
    ledger = Ledger("orders", RULES, lambda _: None)
    claimed = claimed_again(b'{"order_id": "B", "x": "%s"}' % (b"x" * RULES.max_bytes))
    ledger.note(ledger.compose(claim=1), Reply(now=0, claimed=[claimed]))
    ledger.catch_up()
    (outcome,) = ledger.compose(claim=0).outcomes
    assert isinstance(outcome, Dead)
    assert (outcome.order_id, outcome.reason) == ("B", DeadReason.INVALID)
