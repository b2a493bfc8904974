"""Whether an order may start now, by the times that it carries and by its age. Times in ms."""

from __future__ import annotations

from fulfillment_worker.core.decode import Decoded


def not_yet(read: Decoded, now: int) -> int | None:
    """The time before which the order must not start, if that is to come."""
    if read.not_before is None:
        return None
    at = round(read.not_before * 1000)
    return at if at > now else None


def too_late(
    read: Decoded, now: int, *, first_seen: int, max_age: float | None, expires_field: str | None
) -> str:
    """Why the order must not start any more; "" where it may. max_age: seconds, None for any."""
    if read.expires is not None and read.expires * 1000 <= now:
        return f"it expired, by its field {expires_field!r}"
    age = (now - first_seen) / 1000
    if max_age is not None and age >= max_age:
        return f"it was first seen {age:.0f} s ago: at most {max_age:g} s are allowed"
    return ""
