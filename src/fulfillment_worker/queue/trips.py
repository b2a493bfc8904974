"""A trip as it is sent: what `exchange.lua` reads."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from fulfillment_worker.core.exchange import Trip
from fulfillment_worker.core.outcome import Fulfilled, Outcome


class Told(msgspec.Struct):
    """A trip as `exchange.lua` reads it.

    Numbers that become arguments of commands are in digits here already. What comes in hundreds is
    one flat array: a table for each order would cost Redis more than what is done with it.
    """

    number: int
    holding: int
    fulfilled: list[str]
    forget: list[str]
    outcomes: list[Outcome]
    begins: list[str]
    claim: int
    most_bytes: int
    first_delivery: int
    suspects: int
    breaker_open: bool
    survey: bool
    leaving: bool
    # ms: what is known of Redis's clock, and for how long; see clock.lua.
    heard: int
    since_sent: int
    since_heard: int
    known_for: int


class Heard(NamedTuple):
    """What Redis's clock showed, without its steps, in the last reply; 0 before the first.

    sent_at, at: monotonic seconds at which that trip was sent, and answered. first_at: at which the
    first trip ever was answered; 0 before.
    """

    steady: int = 0
    sent_at: float = 0.0
    at: float = 0.0
    first_at: float = 0.0

    def told(self, now: float) -> dict[str, int]:
        """As clock.lua reads it. now: monotonic seconds."""
        return {
            "heard": self.steady,
            "since_sent": round((now - self.sent_at) * 1000),
            "since_heard": round((now - self.at) * 1000),
            "known_for": round((now - self.first_at) * 1000) if self.first_at else 0,
        }


def told(trip: Trip, heard: Heard, now: float) -> Told:
    fulfilled: list[str] = []
    others: list[Outcome] = []
    for outcome in trip.outcomes:
        if type(outcome) is Fulfilled and not outcome.note:
            fulfilled += (str(outcome.delivery), outcome.order_id, str(outcome.attempt))
        else:
            others.append(outcome)
    begins: list[str] = []
    for ask in trip.begins:
        begins += (str(ask.delivery), ask.order_id, str(ask.attempt), str(ask.queued_at))
    return Told(
        number=trip.number,
        holding=trip.holding,
        fulfilled=fulfilled,
        forget=[str(delivery) for delivery in trip.forget],
        outcomes=others,
        begins=begins,
        claim=trip.claim,
        most_bytes=trip.most_bytes,
        first_delivery=trip.first_delivery,
        suspects=trip.suspects,
        breaker_open=trip.breaker_open,
        survey=trip.survey,
        leaving=trip.leaving,
        **heard.told(now),
    )
