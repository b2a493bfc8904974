"""A retry of dead letters that goes step by step: a few first, and the rest at a rate.

Where it stands is kept in Redis, so that the same command goes on from there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256

import msgspec

from fulfillment_worker.admin.rules.causes import DeadLetter
from fulfillment_worker.core.limits import Rate, after_start, next_start, tokens


class First(msgspec.Struct, frozen=True):
    """A letter that is retried before the others."""

    number: int
    order_id: str


class Course(msgspec.Struct, frozen=True):
    """Where a retry stands in one queue.

    up_to: the newest letter that is part of it, so that what dies again is not retried again.
    first: those that go before the others. passed: whether their orders were fulfilled.
    """

    up_to: int
    first: list[First] = []
    passed: bool = False


class Progress(msgspec.Struct, frozen=True):
    """How the order of a first letter is doing. ended: "" where that is not yet known, else why the
    rest must not follow. fulfilled: whether it may. final: whether waiting longer can't help.
    """

    fulfilled: bool = False
    ended: str = ""
    final: bool = False


def name_of(wanted: Collection[str], reason: str | None) -> str:
    """The name of the retry of this selection: the same command has the same one."""
    said = msgspec.json.encode([sorted(set(wanted)), reason or ""])
    return sha256(said).hexdigest()[:16]


def parted(letters: Sequence[DeadLetter], course: Course) -> tuple[list[DeadLetter], int]:
    """The letters of a queue that are part of the retry, and how many died after it began."""
    part = [letter for letter in letters if letter.number <= course.up_to]
    return part, len(letters) - len(part)


def firsts(
    letters: Iterable[DeadLetter], fulfilled: Collection[str], many: int
) -> list[DeadLetter]:
    """Which letters go first: they must have an order that can be followed, and tells something.

    fulfilled: ids of orders that were fulfilled since, whose letters are duplicates.
    """
    chosen: dict[str, DeadLetter] = {}
    for letter in letters:
        if len(chosen) < many and letter.order_id and letter.order_id not in fulfilled:
            chosen.setdefault(letter.order_id, letter)
    return list(chosen.values())


def progress_of(status: str, error: str, reason: str) -> Progress:
    """What the status of a first letter's order says. reason: for which it was postponed."""
    match status:
        case "fulfilled":
            return Progress(fulfilled=True)
        case "dead":
            return Progress(
                ended=f"is dead again: {error}" if error else "is dead again", final=True
            )
        case "cancelled":
            return Progress(ended="was cancelled", final=True)
        case "":
            return Progress(ended="has no status any more", final=True)
        case "postponed":
            return Progress(ended=f"was postponed: {reason}" if reason else "was postponed")
        case "scheduled":
            return Progress(ended="waits for a time of its own")
        case "held":
            return Progress(ended="is held")
        case _:
            return Progress()


class Pace:
    """How many letters may go now, so that no more go than the rate allows. Times in seconds."""

    def __init__(self, rate: Rate) -> None:
        self._interval = rate.interval
        self._burst = rate.usual_burst
        self._until = 0.0

    def take(self, now: float, wanted: int) -> int:
        """How many of the wanted ones may go now; they count as gone."""
        at = now * 1000
        many = min(wanted, tokens(self._until, at, self._interval, self._burst))
        for _ in range(many):
            self._until = after_start(self._until, at, self._interval)
        return many

    def wait(self, now: float) -> float:
        """Seconds until the next one may go."""
        at = next_start(self._until, self._interval, self._burst)
        return max(0.0, at / 1000 - now)


def seconds_for(many: int, rate: Rate) -> float:
    """About how long so many take."""
    return max(0, many - rate.usual_burst) * rate.interval / 1000
