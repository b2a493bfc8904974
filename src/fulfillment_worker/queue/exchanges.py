"""An exchange as it is sent: what `exchange.lua` reads."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from fulfillment_worker.core.exchange import Exchange
from fulfillment_worker.core.outcome import Fulfilled, Outcome


class Told(msgspec.Struct):
    """An exchange as `exchange.lua` reads it.

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

    sent_at, at: monotonic seconds at which that exchange was sent, and answered. first_at: at which
    the first exchange ever was answered; 0 before.
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


def told(exchange: Exchange, heard: Heard, now: float) -> Told:
    fulfilled: list[str] = []
    others: list[Outcome] = []
    for outcome in exchange.outcomes:
        if type(outcome) is Fulfilled and not outcome.note:
            fulfilled += (str(outcome.delivery), outcome.order_id, str(outcome.attempt))
        else:
            others.append(outcome)
    begins: list[str] = []
    for ask in exchange.begins:
        begins += (str(ask.delivery), ask.order_id, str(ask.attempt), str(ask.queued_at))
    return Told(
        number=exchange.number,
        holding=exchange.holding,
        fulfilled=fulfilled,
        forget=[str(delivery) for delivery in exchange.forget],
        outcomes=others,
        begins=begins,
        claim=exchange.claim,
        most_bytes=exchange.most_bytes,
        first_delivery=exchange.first_delivery,
        suspects=exchange.suspects,
        breaker_open=exchange.breaker_open,
        survey=exchange.survey,
        leaving=exchange.leaving,
        **heard.told(now),
    )
