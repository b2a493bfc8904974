"""What came of holding, releasing or cancelling an order, in words."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Act(StrEnum):
    """What an operator does to an order."""

    HOLD = "hold"
    RELEASE = "release"
    CANCEL = "cancel"


class Result(StrEnum):
    """What came of it. All but the last three are as was asked for."""

    HELD = "held"
    CANCELLED = "cancelled"
    RELEASED = "released"
    PENDING = "pending"  # it takes effect later
    TOO_LATE = "too_late"  # it was fulfilled first
    REFUSED = "refused"  # it can't be done
    OVERTAKEN = "overtaken"  # another operator did something else meanwhile


_FAILED = (Result.TOO_LATE, Result.REFUSED, Result.OVERTAKEN)
_DONE = {Act.HOLD: "held", Act.CANCEL: "cancelled"}


class Wished(msgspec.Struct, frozen=True):
    """What an operator's wish for an order met. was: its status, "" for none. wish: what was wished
    already, `hold` or `cancel`, "" for nothing. worker: who is told to stop it, "" for nobody.
    many: its entries that were cancelled or released at once.
    """

    was: str
    wish: str
    worker: str
    many: int


class Deed(msgspec.Struct, frozen=True):
    """What came of one order. told: in one sentence without a full stop, which names no order."""

    order_id: str
    queue: str
    act: Act
    result: Result
    told: str

    @property
    def is_done(self) -> bool:
        """Whether the order is, or will be, as was asked for."""
        return self.result not in _FAILED

    @property
    def is_pending(self) -> bool:
        """Whether it takes effect later."""
        return self.result is Result.PENDING


def at_once(act: Act, order_id: str, queue: str, said: Wished) -> Deed:
    """What the queue said when it was asked."""
    if act is Act.RELEASE:
        result, told = _released(said)
    elif said.was == "fulfilled":
        result, told = Result.TOO_LATE, f"too late: it is fulfilled, and can't be {_DONE[act]}"
    elif said.was == "cancelled":
        result, told = _of_cancelled(act)
    elif said.many:
        result, told = Result.CANCELLED, f"cancelled: it was {said.was or 'dead'}"
    elif said.was == "held":
        result, told = Result.HELD, "it is held already"
    elif act is Act.HOLD and said.wish == "cancel":
        result = Result.REFUSED
        told = "it is to be cancelled, as was asked for before; `release` takes that back"
    else:
        result, told = Result.PENDING, _pending(act, said.was)
    return Deed(order_id, queue, act, result, told)


def _of_cancelled(act: Act) -> tuple[Result, str]:
    if act is Act.CANCEL:
        return Result.CANCELLED, "it is cancelled already"
    return Result.REFUSED, "it is cancelled, and can't be held"


def _released(said: Wished) -> tuple[Result, str]:
    if said.was == "held" or said.many:
        return Result.RELEASED, "released: it is due now"
    if said.wish:
        return Result.RELEASED, f"it goes on: it was to be {_DONE[Act(said.wish)]}"
    if said.was == "cancelled":
        return Result.REFUSED, "it is cancelled, and stays so; place it again under another id"
    return Result.REFUSED, "it is not held, and nothing else is to be done to it"


def _pending(act: Act, was: str) -> str:
    done = _DONE[act]
    if was == "":
        return f"it has not arrived: it will be {done} if it comes within 7 days"
    if was == "dead":
        return f"it is dead: it will be {done} if it is retried"
    return f"it is {was}: it will be {done} when its turn comes"


def is_open(status: str, wish: str) -> bool:
    """Whether it is still being handled by the worker that was told to stop it."""
    return status == "processing" and wish != ""


def after_waiting(act: Act, order_id: str, queue: str, worker: str, status: str, wish: str) -> Deed:
    """What came of an order that was in flight: its status and what is wished for it by now."""
    done = _DONE.get(act, "released")
    if status == done:
        result, told = Result(done), f"{done}: its attempt was stopped"
    elif status == "fulfilled":
        result, told = Result.TOO_LATE, "too late: it succeeded before it could be stopped"
    elif status == "processing" and wish:
        result = Result.PENDING
        told = f"{worker} still handles it: it will be {done} unless that succeeds"
    elif wish == act:
        result, told = Result.PENDING, _pending(act, status)
    else:
        result = Result.OVERTAKEN
        told = f"somebody else has changed that meanwhile: it is {status or 'gone'}"
    return Deed(order_id, queue, act, result, told)
