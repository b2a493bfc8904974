"""From where an order is to what its page says: where it is, why, and what can be done about it.

All of it is pure. Times are Unix ms.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import msgspec

from fulfillment_worker.admin.explain import why
from fulfillment_worker.admin.operator import Act
from fulfillment_worker.admin.rules.why import Standing
from fulfillment_worker.admin.whereabouts import Failure, OrderLocation
from fulfillment_worker.console.blot import blot_fields, blot_line, blot_lines
from fulfillment_worker.console.records import Located
from fulfillment_worker.console.remembered import Seen
from fulfillment_worker.console.views import Context, act_fields, freshness, letter_fields
from fulfillment_worker.core.text import visible

_LIVE = ("waiting", "claimed", "processing", "retrying", "postponed", "scheduled", "unknown")
_ENDED = ("fulfilled", "dead", "cancelled")
_TONES = {
    "fulfilled": "good",
    "dead": "bad",
    "cancelled": "quiet",
    "unknown": "quiet",
    "held": "warn",
    "retrying": "warn",
}
_NOT_FOUND = (
    "No queue has it, and no worker has seen it lately: it has not arrived, its status has "
    "expired, or its id is another one."
)
_SAYS = {
    "waiting": "It waits to be handled",
    "claimed": "It is about to start",
    "processing": "It is being handled now",
    "retrying": "It failed, and will be tried again",
    "postponed": "Its handler has put it off",
    "scheduled": "It waits for its time",
    "held": "It is held until somebody releases it",
    "fulfilled": "It is fulfilled, and nothing is left to do",
    "cancelled": "It is cancelled, and will not be handled",
    "dead": "It is a dead letter, and stays one until somebody retries or drops it",
    "unknown": "It has not arrived yet",
}


def order(
    order_id: str,
    seen: Seen[Located],
    standing: Standing | None,
    acts: Iterable[Act],
    may: Callable[[str], bool],
) -> Context:
    """may: whether an act is allowed here. acts: those of operators, of which its own are shown."""
    located = seen.value or Located()
    told: Context = {
        "order_id": order_id,
        "stale": freshness([seen]),
        "known": seen.value is not None,
        "found": located.order is not None,
        "letters": [letter_fields(each) for each in located.letters],
        "acts": [act_fields(each) for each in acts if each.order_id == order_id],
    }
    if located.order is None:
        offered = offers("unknown", None, may) if seen.value else []
        lacks = {"order": None, "status": "unknown", "sentence": _NOT_FOUND, "offers": offered}
        return told | lacks | {"tone": "quiet", "timeline": [], "note": []}
    found = blotted(located.order)
    return told | {
        "order": msgspec.to_builtins(found),
        "status": found.status,
        "tone": _TONES.get(found.status, "busy"),
        "sentence": sentence(found, standing),
        "timeline": timeline(found),
        "note": note_lines(found),
        "offers": offers(found.status, found.wish, may),
    }


def blotted(found: OrderLocation) -> OrderLocation:
    """The same without what looks personal or secret. Who acted stays."""
    return msgspec.structs.replace(
        found,
        error=found.error and blot_line(found.error),
        traceback=found.traceback and blot_lines(found.traceback),
        reason=found.reason and blot_line(found.reason),
        wish_why=found.wish_why and blot_line(found.wish_why),
        waits_for=found.waits_for and blot_line(found.waits_for),
        history=[Failure(each.attempt, each.at, blot_line(each.error)) for each in found.history],
        note=blot_fields(found.note),
    )


def sentence(found: OrderLocation, standing: Standing | None) -> str:
    """Where it is, and why."""
    if standing:
        standing = msgspec.structs.replace(standing, paused_why=blot_line(standing.paused_why))
    told = visible(why(found, standing, ""))
    if found.status == "dead" and found.error:
        told = "; ".join(filter(None, (visible(found.error), told)))
    return (
        ": ".join(
            filter(None, (_SAYS.get(found.status, f"Its status is {visible(found.status)}"), told))
        )
        + "."
    )


def note_lines(found: OrderLocation) -> list[tuple[str, str]]:
    """What the handler returned, a line for each field."""
    return [
        (visible(name), visible(each if isinstance(each, str) else json.dumps(each)))
        for name, each in (found.note or {}).items()
    ]


def timeline(found: OrderLocation) -> list[Context]:
    """What it has been through, the first first; what is still to come is last."""
    number = f"attempt {found.attempt}" if found.attempt else "attempt"
    failed = any(each.attempt == found.attempt for each in found.history)
    on_worker = f"on {found.worker}" if found.worker else ""
    by = _by(found.by, found.reason)
    steps = [
        _step(found.queued_at, "queued"),
        *(
            _step(each.at, f"attempt {each.attempt} failed", each.error, "bad")
            for each in found.history
        ),
        _step(None if failed else found.started_at, f"{number} started", on_worker),
        _step(found.held_at if found.status == "held" else None, "held", by, "warn"),
        _end(found, by),
        _step(found.wish_at, f"asked to {found.wish}", _by(found.wish_by, found.wish_why), "warn"),
    ]
    past = sorted(filter(None, steps), key=lambda step: step["at"])
    still_to_come = found.next_attempt_at if found.status not in (*_ENDED, "held") else None
    ahead = _step(still_to_come, "next attempt", tone="next")
    return [*past, *filter(None, [ahead])]


def _end(found: OrderLocation, by: str) -> Context | None:
    if found.status not in _ENDED:
        return None
    details = {"dead": found.error or "", "cancelled": by}
    tone = _TONES[found.status]
    return _step(found.finished_at, found.status, details.get(found.status, ""), tone)


def _step(at: int | None, what: str, detail: str = "", tone: str = "") -> Context | None:
    if at is None:
        return None
    return {"at": at, "what": what, "detail": visible(detail), "tone": tone}


def _by(by: str | None, reason: str | None) -> str:
    return ": ".join(filter(None, (f"by {by}" if by else "", reason)))


def offers(status: str, wish: str | None, may: Callable[[str], bool]) -> list[str]:
    """The acts that make sense for it now, of those that are allowed."""
    wanted: tuple[str, ...] = ()
    if status == "held" or wish:
        wanted = ("release", "cancel")
    elif status == "dead":
        wanted = ("retry", "drop", "cancel")
    elif status in _LIVE:
        wanted = ("hold", "cancel")
    return [act for act in wanted if may(act) and not (act == "cancel" and wish == "cancel")]
