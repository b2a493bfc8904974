"""What a handler returned is recorded together with the success."""

from __future__ import annotations

from fulfillment_worker.core.exchange import Verdict
from fulfillment_worker.core.outcome import Fulfilled
from tests.conformance.conftest import Bench
from tests.conformance.test_queue import Hand, hand, order

__all__ = ["hand"]

NOTE = '{"tracking":"0034-ä"}'


async def test_note_is_recorded_with_the_success(bench: Bench, hand: Hand) -> None:
    """Invariant 3: a copy that comes later changes nothing."""
    bench.push(order("A"), order("B"), order("A"))
    first, second = await hand.take("A"), await hand.take("B")
    noted = Fulfilled(first.delivery, "A", 1, NOTE)
    await hand.say(outcomes=[noted, Fulfilled(second.delivery, "B", 1)])
    assert (bench.status("A"), bench.note("A")) == ("fulfilled", NOTE)
    assert (bench.status("B"), bench.note("B")) == ("fulfilled", None)
    (copy,) = await hand.claim()
    assert await hand.begin(copy, "A") is Verdict.DUPLICATE
    assert bench.note("A") == NOTE
    survey = await hand.survey()
    assert (survey.fulfilled, survey.duplicates, survey.in_flight) == (2, 1, 0)
    assert survey.unaccounted == 0
    assert bench.known_ids() == []
