"""What the console has read of a queue."""

from __future__ import annotations

import msgspec

from fulfillment_worker.admin.inspector import Overview
from fulfillment_worker.admin.rules.causes import DeadLetter, Group
from fulfillment_worker.admin.rules.why import Standing
from fulfillment_worker.admin.whereabouts import Failure, OrderLocation


class State(msgspec.Struct, frozen=True):
    """How a queue stands, and what holds it up."""

    overview: Overview
    standing: Standing


class Letters(msgspec.Struct, frozen=True):
    """Dead letters, the newest first, and grouped by cause. complete: whether they are all."""

    letters: list[DeadLetter]
    groups: list[Group]
    complete: bool

    def group(self, name: str) -> Group | None:
        """The group with this name."""
        return next((group for group in self.groups if group.group == name), None)


class Letter(msgspec.Struct, frozen=True):
    """A dead letter, and the attempts that failed. raw: the order's bytes; None for too many."""

    letter: DeadLetter
    raw: bytes | None
    history: list[Failure]
    traceback: str


class Located(msgspec.Struct, frozen=True):
    """Where an order is, None where no queue knows it; and its dead letters, if it is dead."""

    order: OrderLocation | None = None
    letters: list[DeadLetter] = []
