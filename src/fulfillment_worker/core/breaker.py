"""The breaker: while what the handler depends on is down, the backlog waits instead of burning.

Closed, orders flow. When most attempts fail for reasons that look like a dependency's, it opens:
nothing is claimed for a pause. Then, half open, one order at a time is let through as a probe: a
failure opens it again for longer, and some successes in a row close it.
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


class BreakerRules(msgspec.Struct, frozen=True, kw_only=True):
    """window, first_pause, longest_pause: seconds. share: of failures among the attempts.

    at_least: attempts in the window before anything is concluded. successes: that close it again.
    """

    window: float = 30.0
    at_least: int = 50
    share: float = 0.8
    first_pause: float = 1.0
    longest_pause: float = 30.0
    successes: int = 3


class Breaker:
    """Times are monotonic seconds, given by the caller; they must not run backwards."""

    def __init__(self, rules: BreakerRules | None) -> None:
        """rules: None for a breaker that never opens."""
        self.state = BreakerState.CLOSED
        self._rules = rules or BreakerRules()
        self._enabled = rules is not None
        self._recent = _Window(self._rules.window)
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
        match self.state:
            case BreakerState.CLOSED:
                self._recent.note(failed, now)
                if failed and self._is_bad():
                    self._open(now, self._rules.first_pause)
            case BreakerState.HALF_OPEN if failed:
                self._open(now, min(2 * self._pause, self._rules.longest_pause))
            case BreakerState.HALF_OPEN:
                self._successes += 1
                if self._successes >= self._rules.successes:
                    self._close()
            case BreakerState.OPEN:
                pass  # It began before the breaker opened, and tells nothing new.

    def _is_bad(self) -> bool:
        recent, rules = self._recent, self._rules
        return recent.many >= rules.at_least and recent.failures >= rules.share * recent.many

    def _open(self, now: float, pause: float) -> None:
        self.state = BreakerState.OPEN
        self._opened_at, self._pause = now, pause

    def _close(self) -> None:
        self.state = BreakerState.CLOSED
        self._recent = _Window(self._rules.window)


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
