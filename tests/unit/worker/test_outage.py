"""What is told of an outage: each cause, and none of them at each attempt."""

from __future__ import annotations

from itertools import cycle, islice

from fulfillment_worker.core.events import Event, QueueLost, QueueRegained
from fulfillment_worker.worker.outage import Outage


class Told:
    """An outage, its clock (seconds), and the causes that were told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.events: list[Event] = []
        self.outage = Outage("orders", self.events.append, clock=lambda: self.now)

    def fail(self, *causes: str) -> None:
        """One attempt a second."""
        for why in causes:
            self.outage.note(why)
            self.now += 1

    @property
    def causes(self) -> list[str]:
        return [event.why for event in self.events if isinstance(event, QueueLost)]


def test_outage_of_one_cause_is_told_once() -> None:
    told = Told()
    told.fail(*["refused"] * 300)
    assert told.causes == ["refused"]


def test_outage_whose_cause_changes_tells_each_at_once() -> None:
    told = Told()
    told.fail("refused", "refused", "loading", "no permission", "no permission")
    assert told.causes == ["refused", "loading", "no permission"]


def test_outage_whose_causes_alternate_tells_each_once_a_minute() -> None:
    told = Told()
    told.fail(*islice(cycle(["reset", "closed"]), 180))
    assert told.causes == ["reset", "closed"] * 3


def test_outage_whose_first_cause_comes_back_for_good_tells_it_again() -> None:
    told = Told()
    told.fail("refused", "loading", *["refused"] * 100)
    assert told.causes == ["refused", "loading", "refused"]


def test_outage_that_follows_another_is_told_anew() -> None:
    told = Told()
    told.fail("refused")
    told.outage.end()
    told.fail("refused")
    assert told.causes == ["refused", "refused"]
    (regained,) = (event for event in told.events if isinstance(event, QueueRegained))
    assert regained.away == 1
