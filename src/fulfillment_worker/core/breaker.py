"""The breaker: while what the handler depends on is down, the backlog waits instead of burning.

Closed, orders flow. When most attempts fail for reasons that look like a dependency's, it opens:
nothing is claimed for a pause. Then, half open, one order at a time is let through as a probe: a
failure opens it again for longer, and some successes in a row close it.

It opens as well when all orders in a row are rejected, where before few were: a gateway answers 404
for the shop, or its last release rejects whatever comes. Each probe that is rejected is a dead
letter, but they may be bad orders indeed, with good ones behind them. So the pauses are shorter
then, and one success closes it.
See Michael Nygard, "Release It!", on the circuit breaker.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

import msgspec

from fulfillment_worker.core.outcome import Failed, FailureReason, Rejected, Result, Succeeded

_MOST_RECENT = 200
"""Attempts that a conclusion is drawn from. At 100 a second an outage shows within two seconds:
before the first order has used up its attempts, even with short pauses between them."""
_ONE_RUN = 0.1
"""Seconds of attempts with the same end that are counted as one run."""
_LONG_MEMORY = 2000
"""Attempts by which the share that is usually rejected is told."""
_NO_CHANCE = 1e-9
"""Of a run of rejections: 20 in a row where up to a third are rejected, 30 where half are, and 200
where nine tenths are. So orders that are mostly rejected for good reasons go on."""
_LOOKS_LIKE_A_DEPENDENCY = (
    FailureReason.HANDLER,
    FailureReason.TIMEOUT,
    FailureReason.DEPENDENCY,
)


class BreakerState(StrEnum):
    """Label values of `fulfillment_breaker_state`."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerCause(StrEnum):
    """Why it opened; label values of `fulfillment_breaker_openings_total`."""

    FAILURES = "failures"
    REJECTIONS = "rejections"


class BreakerRules(msgspec.Struct, frozen=True, kw_only=True):
    """window, first_pause, longest_pause: seconds. share: of failures among the attempts.

    at_least: attempts in the window before anything is concluded. successes: that close it again.
    rejections: in a row, before anything is concluded. longest_pause_rejected: while that is why.
    """

    window: float = 30.0
    at_least: int = 50
    share: float = 0.8
    first_pause: float = 1.0
    longest_pause: float = 30.0
    successes: int = 3
    rejections: int = 20
    longest_pause_rejected: float = 5.0


class Breaker:
    """Times are monotonic seconds, given by the caller; they must not run backwards."""

    def __init__(self, rules: BreakerRules | None) -> None:
        """rules: None for a breaker that never opens."""
        self.state = BreakerState.CLOSED
        self.cause = BreakerCause.FAILURES
        self._rules = rules or BreakerRules()
        self._enabled = rules is not None
        self._recent = _Window(self._rules.window)
        self._rejections = _Rejections(self._rules.rejections)
        self._successes = 0
        self._pause = self._rules.first_pause
        self._opened_at = 0.0

    def room(self, now: float) -> int | None:
        """How many orders may be in flight: 0, 1, or None for no limit."""
        if self.state is BreakerState.OPEN and now - self._opened_at >= self._pause:
            self.state = BreakerState.HALF_OPEN
            self._successes = 0
        match self.state:
            case BreakerState.CLOSED:
                return None
            case BreakerState.OPEN:
                return 0
            case BreakerState.HALF_OPEN:
                return 1

    def record(self, result: Result, now: float) -> None:
        """An attempt ended so."""
        failed = _is_failure(result)
        if failed is None or not self._enabled:
            return
        if self.state is BreakerState.OPEN:
            return  # It began before the breaker opened, and tells nothing new.
        rejected, rejections = type(result) is Rejected, self._rejections
        if rejected or (rejections.run and not failed):
            rejections.note(rejected)
        elif not failed:
            rejections.fulfilled += 1  # as `note` does, in the shortest way: once for each order
        if self.state is BreakerState.HALF_OPEN:
            self._probed(failed, rejected, now)
            return
        self._recent.note(failed, now)
        if failed and self._is_bad():
            self._open(BreakerCause.FAILURES, now, self._rules.first_pause)
        elif rejected and self._rejections.are_no_chance:
            self._open(BreakerCause.REJECTIONS, now, self._rules.first_pause)

    def _probed(self, failed: bool, rejected: bool, now: float) -> None:
        by_rejections = self.cause is BreakerCause.REJECTIONS
        if failed:
            longest = self._rules.longest_pause
            self._open(BreakerCause.FAILURES, now, min(2 * self._pause, longest))
        elif rejected and by_rejections:
            longest = self._rules.longest_pause_rejected
            self._open(BreakerCause.REJECTIONS, now, min(2 * self._pause, longest))
        else:
            self._successes += 1
            if by_rejections or self._successes >= self._rules.successes:
                self._close()

    def _is_bad(self) -> bool:
        recent, rules = self._recent, self._rules
        return recent.many >= rules.at_least and recent.failures >= rules.share * recent.many

    def _open(self, cause: BreakerCause, now: float, pause: float) -> None:
        self.state, self.cause = BreakerState.OPEN, cause
        self._opened_at, self._pause = now, pause

    def _close(self) -> None:
        self.state = BreakerState.CLOSED
        self._recent = _Window(self._rules.window)


class _Rejections:
    """Orders that were rejected one after the other, and what share was rejected before them.

    Failures in between don't end a run: a gateway may answer 404 and 503 by turns.
    """

    def __init__(self, at_least: int) -> None:
        self._at_least = at_least
        self.run = self.fulfilled = 0
        # Of all before the run. Nothing is known at first, so few are taken to be rejected.
        self._rejected, self._many = 1.0, 20.0

    def note(self, rejected: bool) -> None:
        if rejected:
            self.run += 1
            return
        self.fulfilled += 1
        if self.run:
            self._rejected += self.run
            self._many += self.run + self.fulfilled
            self.run = self.fulfilled = 0
            if self._many > _LONG_MEMORY:
                shorter = _LONG_MEMORY / 2 / self._many
                self._rejected, self._many = self._rejected * shorter, self._many * shorter

    @property
    def are_no_chance(self) -> bool:
        """Whether so many in a row can't come about if each had the chance that they had before."""
        if self.run < self._at_least:
            return False
        share = self._rejected / (self._many + self.fulfilled)
        return share**self.run < _NO_CHANCE


class _Window:
    """The attempts of late: the last 200, and none older than `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.many = self.failures = 0
        self._seconds = seconds
        # Of attempts with the same end, close in time: when the first was, the end, how many.
        self._runs: deque[_Run] = deque()

    def note(self, failed: bool, now: float) -> None:
        last = self._runs[-1] if self._runs else None
        if last is None or last.failed is not failed or now - last.since > _ONE_RUN:
            last = _Run(now, failed, 0)
            self._runs.append(last)
        last.many += 1
        self.many += 1
        self.failures += failed
        while self.many > _MOST_RECENT or now - self._runs[0].since > self._seconds:
            self._forget(1 if self.many > _MOST_RECENT else self._runs[0].many)

    def _forget(self, many: int) -> None:
        first = self._runs[0]
        first.many -= many
        self.many -= many
        self.failures -= many * first.failed
        if not first.many:
            self._runs.popleft()


class _Run(msgspec.Struct):
    since: float
    failed: bool
    many: int


def _is_failure(result: Result) -> bool | None:
    """None for a result that says nothing of a dependency."""
    match result:
        case Succeeded() | Rejected():
            return False
        case Failed(reason=reason):
            return True if reason in _LOOKS_LIKE_A_DEPENDENCY else None
        case _:
            return None
