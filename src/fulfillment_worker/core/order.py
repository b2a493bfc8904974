"""What a handler is given, and what it may raise."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order, as a handler sees it.

    id: the order's id; an integer id is given in decimal, since `7` and `"7"` are one order.
    attempt: 1 for the first run of the handler. Crashes and shutdowns don't raise it.
    body: the JSON object, as the producer wrote it.
    raw: the very bytes that the producer put on the list.
    queue: the name of the list.
    enqueued_unix: Unix seconds, or None where the order doesn't say.
    traceparent, tracestate: W3C trace context, or None where absent or malformed.
    """

    id: str
    attempt: int
    body: dict[str, Any]
    raw: bytes
    queue: str
    enqueued_unix: float | None = None
    traceparent: str | None = None
    tracestate: str | None = None

    @property
    def enqueued_at(self) -> datetime | None:
        """When the producer placed the order (UTC), or None where the order doesn't say."""
        if self.enqueued_unix is None:
            return None
        return datetime.fromtimestamp(self.enqueued_unix, UTC)

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt at this order: `QUEUE:ID` in visible ASCII (RFC 3986 escapes).

        Pass it to payment providers, carriers and databases, so that work done twice counts once.
        """
        return f"{quote(self.queue, safe='')}:{quote(self.id, safe='-._~:@!$()*+,;=/')}"


class Retry(Exception):
    """Raise it from a handler to try the order again later.

    after: seconds to wait at least; without it, exponential back-off with full jitter.
    It counts as a failed attempt: after MAX_ATTEMPTS of them the order is a dead letter.
    """

    def __init__(self, reason: str = "", *, after: float | None = None) -> None:
        super().__init__(reason)
        if after is not None and not 0 <= after < float("inf"):
            raise ValueError(f"Retry(after={after!r}): give seconds, 0 or more")
        self.after = after


class Reject(Exception):
    """Raise it from a handler to make the order a dead letter at once, without another attempt."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)


class Postpone(Exception):
    """Raise it from a handler to have the order come back later. It is no failure.

    No attempt is used, no error is counted, and the circuit breaker doesn't mind. Give one of:
    after: seconds to wait at least. until: the time before which it doesn't come back, as a
    datetime with a time zone, or in Unix seconds.
    """

    def __init__(
        self, reason: str = "", *, after: float | None = None, until: datetime | float | None = None
    ) -> None:
        super().__init__(reason)
        if (after is None) == (until is None):
            raise ValueError("Postpone: give either after=SECONDS or until=TIME")
        if after is not None and not 0 <= after < float("inf"):
            raise ValueError(f"Postpone(after={after!r}): give seconds, 0 or more")
        if isinstance(until, datetime):
            if until.tzinfo is None:
                raise ValueError(f"Postpone(until={until!r}): give a time with its time zone")
            until = until.timestamp()
        if until is not None and not 0 <= until < float("inf"):
            raise ValueError(f"Postpone(until={until!r}): give a time, or Unix seconds")
        self.after = after
        self.until = until
