"""What the ledger tells."""

from __future__ import annotations

from fulfillment_worker.core.decide import RetryPolicy
from fulfillment_worker.core.events import AttemptEnded
from fulfillment_worker.core.exchange import Claimed, Holdings, Reply, Verdict
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
