"""Whether an order may start now, by the times that it carries and by its age."""

from __future__ import annotations

from typing import Any

import msgspec

from fulfillment_worker.core.decode import unix_seconds


class TimeRules(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the times of orders; None where there is none.

    max_age: seconds since an order was first seen, after which it is not tried. not_before_field,
    expires_field: of the order, with a time as in `enqueued_at`.
    """

    max_age: float | None = None
    not_before_field: str | None = None
    expires_field: str | None = None


def not_yet(body: dict[str, Any], rules: TimeRules, now: int) -> int | None:
    """The time before which the order must not start, if that is to come. Times in ms."""
    told = unix_seconds(body.get(rules.not_before_field)) if rules.not_before_field else None
    at = 0 if told is None else round(told * 1000)
    return at if at > now else None


def too_late(body: dict[str, Any], rules: TimeRules, now: int, first_seen: int) -> str:
    """Why the order must not start any more; "" where it may. Times in ms."""
    expires = unix_seconds(body.get(rules.expires_field)) if rules.expires_field else None
    if expires is not None and expires * 1000 <= now:
        return f"it expired, by its field {rules.expires_field!r}"
    age = (now - first_seen) / 1000
    if rules.max_age is not None and age >= rules.max_age:
        return f"it was first seen {age:.0f} s ago: at most {rules.max_age:g} s are allowed"
    return ""
