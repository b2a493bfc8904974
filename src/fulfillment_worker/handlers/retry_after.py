"""How long a server asks to be left alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_SECONDS = 86_400.0


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the header Retry-After asks for (RFC 9110, 10.2.3), at most a day.

    headers: with names in lower case, or that ignore case. None where it says nothing usable; zero
    or a time in the past is nothing too, since the worker's own back-off is never shorter.
    """
    value = headers.get("retry-after", "").strip()
    seconds = float(value) if value.isascii() and value.isdigit() else _until(value, headers)
    if seconds is None or seconds <= 0:
        return None
    return min(seconds, LONGEST_SECONDS)


def _until(value: str, headers: Mapping[str, str]) -> float | None:
    then = _date(value)
    if then is None:
        return None
    # Counted on the server's clock where it tells the time, so that ours needn't agree with it.
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return (then - now).total_seconds()


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
