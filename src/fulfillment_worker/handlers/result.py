"""What it means that a handler raised: the one place where that is decided.

Whatever the shop's code raises ends as a Result. A group (`ExceptionGroup`, as of a TaskGroup)
means what its exceptions mean, at any depth: a Reject among them rejects; where all are Postpone,
the order comes back when the latest of them says; else the attempt failed, and waits as long as the
latest Retry asks for.

An exception is the shop's code, too: whatever it does when it is looked at must end here.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from itertools import islice

from fulfillment_worker.core.attempt import Attempt
from fulfillment_worker.core.order import Postpone, Reject, Retry
from fulfillment_worker.core.origin import place_of, traceback_of
from fulfillment_worker.core.outcome import (
    Deferred,
    Failed,
    FailureReason,
    Rejected,
    Result,
    Unattempted,
)
from fulfillment_worker.core.shortage import Shortage
from fulfillment_worker.core.text import one_line
from fulfillment_worker.system import forks

LONGEST_ERROR = 1000
_MOST_LEAVES = 1000
_MOST_TOLD = 5
_OURS = (Retry, Reject, Postpone)
_UNREADABLE = "(its text could not be had)"
# What the libraries that have task groups say of any group; its exceptions say it better.
_SAYS_NOTHING = ("unhandled errors in a TaskGroup", "Exceptions from Trio nursery")


def result_of(error: BaseException, attempt: Attempt) -> Result:
    """How an attempt ended whose handler raised this. Never raises.

    It doesn't return in a fork of the worker, which ends here. A coroutine that Python closes gets
    GeneratorExit, and may return what it gets here: nobody sees it.
    """
    if forks.forked:
        forks.leave(error)
    attempt.raised(error)
    if issubclass(type(error), Shortage):
        return attempt.cut_short or Unattempted(str(error))
    if isinstance(attempt.cut_short, Failed):
        return timed_out(attempt.cut_short, error)
    return attempt.cut_short or meaning(error)


def meaning(error: BaseException) -> Failed | Rejected | Deferred:
    """What this says of an attempt that nobody cut short. Never raises."""
    try:
        if issubclass(type(error), asyncio.CancelledError) and _task_is_cancelled():
            return Failed(FailureReason.HANDLER, "the handler cancelled itself")
        leaves = list(islice(_leaves(error), _MOST_LEAVES))
        rejects = [leaf for leaf in leaves if issubclass(type(leaf), Reject)]
        if rejects:
            return Rejected(_describe_all(error, rejects), traceback_of(error))
        if leaves and all(issubclass(type(leaf), Postpone) for leaf in leaves):
            return _latest([_deferred(leaf, error) for leaf in leaves])
        retries = [leaf for leaf in leaves if issubclass(type(leaf), Retry)]
        afters = [after for leaf in retries if (after := _after(leaf)) is not None]
        only_retries = len(retries) == len(leaves) > 0
        reason = FailureReason.DEPENDENCY if only_retries else FailureReason.HANDLER
        after = max(afters, default=None)
        return Failed(reason, _describe_all(error, leaves), after, traceback_of(error))
    except BaseException:  # noqa: BLE001 - the shop's exception may do anything
        return Failed(FailureReason.HANDLER, "an exception that can't be read")


def timed_out(timeout: Failed, cancelled: BaseException) -> Failed:
    """The same time-out, with the place where the attempt was when it was cut short."""
    try:
        error = timeout.error + place_of(cancelled)
        return Failed(timeout.reason, error, timeout.after, traceback_of(cancelled))
    except BaseException:  # noqa: BLE001 - as above
        return timeout


def _task_is_cancelled() -> bool:
    """Else a CancelledError is that of a task that the handler waited for, say."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions of a group, however deep; of anything else, itself."""
    waiting = [error]
    while waiting:
        first = waiting.pop()
        if issubclass(type(first), BaseExceptionGroup):
            waiting += reversed(BaseExceptionGroup.exceptions.__get__(first))
        else:
            yield first


def _after(error: BaseException) -> float | None:
    """The delay that a Retry asks for, in seconds. A subclass may have put anything there."""
    return _seconds(error, "after")


def _seconds(error: BaseException, name: str) -> float | None:
    try:
        asked = getattr(error, name, None)
        seconds = float(asked) if isinstance(asked, int | float) else math.nan
    except BaseException:  # noqa: BLE001 - a property of the shop's
        return None
    return seconds if 0 <= seconds < math.inf else None


def _deferred(error: BaseException, within: BaseException) -> Deferred:
    """What a Postpone asks for. A subclass may have put anything into its times."""
    after, until = _seconds(error, "after"), _seconds(error, "until")
    if after is None and until is None:
        raise ValueError("a Postpone without a time")
    return Deferred(describe(error, within), None if until is not None else after, until)


def _latest(deferred: list[Deferred]) -> Deferred:
    """Which of these comes last: `after` counts from now on."""
    now = time.time()
    return max(deferred, key=lambda each: each.until or now + (each.after or 0))


def _describe_all(error: BaseException, leaves: list[BaseException]) -> str:
    """The leaves in one line of bounded length, each once, in an order that is always the same."""
    if len(leaves) == 1 and leaves[0] is error:
        return describe(error)
    told = sorted({describe(leaf, error) for leaf in leaves})
    more = len(told) - _MOST_TOLD
    line = "; ".join(told[:_MOST_TOLD]) + (f"; and {more} more" if more > 0 else "")
    title = one_line(BaseExceptionGroup.message.__get__(error), LONGEST_ERROR)
    if not title.startswith(_SAYS_NOTHING):
        line = f"{title}: {line}"
    return line[:LONGEST_ERROR]


def describe(error: BaseException, within: BaseException | None = None) -> str:
    """The error in one line of bounded length: what, because of what, and where.

    A Retry, Reject or Postpone is its reason alone: it says what the shop wants to be read. within:
    the group that it was raised with.
    """
    place = "" if issubclass(type(error), _OURS) else place_of(error, within)
    line = _named(error)
    cause, seen = error.__cause__, {id(error)}
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        # A cancellation is how a time-out of asyncio's comes about, and says no more than it.
        says_more = (_text(cause) or type(cause).__name__) not in line
        if says_more and issubclass(type(cause), Exception):
            line += f", because of {_named(cause)}"
        cause = cause.__cause__
    return line[: LONGEST_ERROR - len(place)] + place


def _named(error: BaseException) -> str:
    text, name = _text(error), type(error).__name__
    if issubclass(type(error), _OURS):
        return text or next(each.__name__ for each in _OURS if issubclass(type(error), each))
    return f"{name}: {text}" if text else name


def _text(error: BaseException) -> str:
    try:
        return one_line(str(error), LONGEST_ERROR)
    except BaseException:  # noqa: BLE001 - a `__str__` of the shop's
        return _UNREADABLE
