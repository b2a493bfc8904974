"""Why an order isn't moving, in words, for those who ask where it is."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fulfillment_worker.core.limits import NO_LIMITS, Limits

_POSTPONED = ("postponed", "scheduled")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What holds up the orders of a queue. Times are Unix ms of Redis's clock.

    now: when that was read. paused_by, paused_at, paused_why: of the pause, "" and None where not
    known. workers: how many were heard of lately. breakers_open: how many of them claim little or
    nothing, since their handler's dependency seems to be down. limits: of the fleet. in_flight:
    orders that workers hold.
    """

    now: int
    paused: bool = False
    paused_by: str = ""
    paused_at: int | None = None
    paused_why: str = ""
    workers: int = 0
    breakers_open: int = 0
    limits: Limits = NO_LIMITS
    in_flight: int = 0


def why_it_waits(
    status: str,
    queue: Standing,
    *,
    position: int | None = None,
    started_at: int | None = None,
    next_attempt_at: int | None = None,
    attempt: int | None = None,
    reason: str | None = None,
    waits_for: str | None = None,
    held_by: Sequence[tuple[str, str]] = (),
) -> str:
    """One sentence without a full stop; "" for an order that has ended.

    status: as `fulfillment-worker status` tells it. position: among the waiting ones, 1 is next.
    started_at, next_attempt_at: Unix ms. attempt: the one under way, or the last.
    reason: for which it was postponed. waits_for: its key, where that is limited. held_by: orders
    and their workers, for which it waits then.
    """
    if status == "processing":
        seconds = "" if started_at is None else f" for {span(queue.now - started_at)}"
        number = "" if attempt is None else f"attempt {attempt} "
        return f"{number}runs{seconds}"
    if status == "claimed":
        return "a worker holds it, and starts it when it has a free slot"
    if status in _POSTPONED:
        return _postponed(queue, next_attempt_at, reason)
    if status not in ("waiting", "retrying"):
        return ""
    turn = _turn(status, queue, position, next_attempt_at)
    if waits_for is not None and queue.limits.key_rate and not held_by:
        turn = f"it waits for its key {waits_for}, limited to {queue.limits.key_rate}"
    if held_by:
        turn = f"it waits for its key {waits_for}, {_holders(held_by)}"
    held_up = _held_up(queue) or _limited(queue, position)
    return f"{turn}, and {held_up}" if held_up else turn


def withdrawn(status: str, since: str, by: str | None, reason: str | None) -> str:
    """Of a held or a cancelled order. since: a time as people read it, "" where not known."""
    when = f" {'since' if status == 'held' else 'at'} {since}" if since else ""
    return f"{status}{when}{_by_whom(by, reason)}"


def wished(status: str, wish: str | None, by: str | None, reason: str | None) -> str:
    """What an operator has asked for that has not taken effect yet; "" for nothing."""
    if wish is None:
        return ""
    done = "cancelled" if wish == "cancel" else "held"
    told = f"it is to be {done}{_by_whom(by, reason)}"
    if status == "processing":
        return f"{told}, unless the attempt succeeds first"
    if status == "dead":
        return f"{told}, if it is retried"
    return f"{told}, when {'it arrives' if status == 'unknown' else 'its turn comes'}"


def _by_whom(by: str | None, reason: str | None) -> str:
    return (f" by {by}" if by else "") + (f', "{reason}"' if reason else "")


def _postponed(queue: Standing, next_attempt_at: int | None, reason: str | None) -> str:
    why = f" ({reason})" if reason else ""
    if next_attempt_at is not None and next_attempt_at > queue.now:
        return f"it comes back in {span(next_attempt_at - queue.now)}{why}"
    held_up = _held_up(queue)
    due = f"it is due{why}"
    return f"{due}, and {held_up}" if held_up else due


def _turn(status: str, queue: Standing, position: int | None, next_attempt_at: int | None) -> str:
    if status == "retrying":
        if next_attempt_at is None or next_attempt_at <= queue.now:
            return "its next attempt is due"
        return f"its next attempt is due in {span(next_attempt_at - queue.now)}"
    before = (position or 1) - 1
    if before == 0:
        return "it is the next"
    return f"{before} {'order is' if before == 1 else 'orders are'} before it"


def _held_up(queue: Standing) -> str:
    if queue.paused:
        since = "" if queue.paused_at is None else f" for {span(queue.now - queue.paused_at)}"
        by = f" by {queue.paused_by}" if queue.paused_by else ""
        why = f" ({queue.paused_why})" if queue.paused_why else ""
        return f"the queue is paused{since}{by}{why}"
    if queue.workers == 0:
        return "no worker is alive"
    if queue.breakers_open == queue.workers:
        return (
            "the circuit breaker of every worker is open: what the handler needs seems to be down"
        )
    return ""


def _holders(held_by: Sequence[tuple[str, str]]) -> str:
    told = ", ".join(f"{order_id or 'an order'} on {worker}" for order_id, worker in held_by[:3])
    more = len(held_by) - 3
    return f"held by {told}{f' and {more} more' if more > 0 else ''}"


def _limited(queue: Standing, position: int | None) -> str:
    limits = queue.limits
    if limits.in_flight is not None and queue.in_flight >= limits.in_flight:
        return f"the fleet is at its limit: {limits.in_flight} in flight"
    if limits.rate is None or position is None:
        return ""
    wait = span(round(position * limits.rate.interval))
    return f"the rate is limited to {limits.rate}: about {wait}"


def span(ms: int) -> str:
    """A time in its largest unit."""
    seconds = max(0, ms) / 1000
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
