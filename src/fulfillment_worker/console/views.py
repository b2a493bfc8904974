"""From what was read of queues to what their pages show. All of it is pure.

Foreign text is blotted here, so that neither a page nor a program gets more. Times are Unix ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fulfillment_worker.admin.inspector import Overview
from fulfillment_worker.admin.operator import Act
from fulfillment_worker.admin.rules.causes import DeadLetter, Group
from fulfillment_worker.admin.rules.limit_rows import limit_rows
from fulfillment_worker.admin.rules.why import span
from fulfillment_worker.admin.running import Running
from fulfillment_worker.admin.whereabouts import Failure
from fulfillment_worker.console.blot import blot_line, blot_lines, blot_order
from fulfillment_worker.console.records import Letter, Letters, State
from fulfillment_worker.console.remembered import Seen
from fulfillment_worker.core.text import visible

Context = dict[str, Any]

_TOP = 5
"""Causes of death that the overview shows."""


def freshness(seen: Iterable[Seen[Any]]) -> Context:
    """Why what is shown is not new, "" where it is. at: when the oldest was read, 0 for never."""
    stale = [each for each in seen if each.fault]
    return {
        "fault": blot_line(stale[0].fault) if stale else "",
        "at": min((each.at for each in stale), default=0),
    }


def overview(states: Mapping[str, Seen[State]], letters: Mapping[str, Seen[Letters]]) -> Context:
    """All queues, and what their dead letters died of."""
    return {
        "stale": freshness([*states.values(), *letters.values()]),
        "queues": [queue(name, seen.value) for name, seen in states.items()],
        "dead": dead(letters, _TOP),
    }


def queue(name: str, state: State | None) -> Context:
    """How one queue stands; `known` is whether that was ever read."""
    if state is None:
        return {"name": name, "known": False}
    now = state.overview
    return {
        "name": name,
        "known": True,
        "at": now.at,
        "paused": now.paused,
        "notices": notices(state),
        "balance": balance(now),
        "places": places(now),
        "limits": [each._asdict() for each in limit_rows(now.limits, now.used, now.in_flight)],
        "figures": msgspec.to_builtins(now),
        "workers": len(now.workers),
        "oldest": now.oldest,
    }


def notices(state: State) -> list[Context]:
    """What somebody should know, the worst first."""
    now, standing = state.overview, state.standing
    found = []
    if now.survey.unaccounted:
        found.append(_notice("bad", "The books don't balance: see the runbook of lost orders."))
    if now.paused:
        by = f" by {visible(standing.paused_by)}" if standing.paused_by else ""
        why = blot_line(standing.paused_why)
        found.append(_notice("warn", f"It is paused{by}", standing.paused_at, why))
    if not now.workers:
        found.append(_notice("bad" if _outstanding(now) else "warn", "No worker is alive."))
    elif standing.breakers_open:
        which = f"{standing.breakers_open} of {len(now.workers)}"
        text = f"The circuit breaker is open in {which} workers: what the handler needs seems down."
        found.append(_notice("bad", text))
    return found


def _notice(tone: str, text: str, since: int | None = None, why: str = "") -> Context:
    return {"tone": tone, "text": text, "since": since, "why": why}


def _outstanding(now: Overview) -> int:
    return now.waiting + now.in_flight + now.retrying


def balance(now: Overview) -> Context:
    """The equation of the books. terms: what it adds up."""
    terms = [
        ("in flight", now.in_flight),
        ("retrying", now.retrying),
        ("scheduled", now.scheduled),
        ("held", now.held),
        ("dead", now.dead),
        ("fulfilled", now.fulfilled),
        ("cancelled", now.cancelled),
        ("duplicates", now.duplicates),
        ("dropped", now.dropped),
    ]
    off = now.survey.unaccounted
    if off > 0:
        text = f"{off:,} of {now.received:,} orders are unaccounted for"
    elif off < 0:
        text = f"{-off:,} more orders are counted than the {now.received:,} received"
    else:
        text = f"All {now.received:,} orders received are accounted for"
    return {"ok": off == 0, "text": text, "received": now.received, "terms": terms}


def places(now: Overview) -> list[Context]:
    """How many orders each place holds. tone: "" where there is nothing to see."""
    oldest = "" if now.oldest is None else f"oldest {span(now.at - now.oldest)}"
    return [
        {"label": "waiting", "count": now.waiting, "hint": oldest, "tone": ""},
        {"label": "in flight", "count": now.in_flight, "hint": "", "tone": ""},
        {"label": "retrying", "count": now.retrying, "hint": "", "tone": ""},
        {"label": "scheduled", "count": now.scheduled, "hint": "", "tone": ""},
        {"label": "held", "count": now.held, "hint": "", "tone": ""},
        {"label": "dead", "count": now.dead, "hint": "", "tone": "bad" if now.dead else ""},
    ]


def dead(letters: Mapping[str, Seen[Letters]], most: int | None = None) -> Context:
    """Dead letters by cause, the most frequent first."""
    known = {name: seen.value for name, seen in letters.items() if seen.value}
    groups = [group for each in known.values() for group in each.groups]
    groups.sort(key=lambda each: (-each.count, each.group))
    partial = [name for name, each in known.items() if not each.complete]
    return {
        "stale": freshness(letters.values()),
        "groups": [group_fields(each) for each in groups[:most]],
        "more": len(groups) - len(groups[:most]),
        "partial": partial,
        "read": sum(len(each.letters) for each in known.values()),
    }


def group_fields(group: Group) -> Context:
    """For a page and for JSON."""
    return {**msgspec.to_builtins(group), "error": blot_line(group.error)}


def group(seen: Seen[Letters], group: Group, most: int) -> Context:
    """The newest letters with one cause."""
    letters = seen.value.letters if seen.value else []
    same = [each for each in letters if (each.reason, each.cause.error) == _cause(group)]
    return {
        "stale": freshness([seen]),
        "group": group_fields(group),
        "letters": [letter_fields(each) for each in same[:most]],
        "more": len(same) - len(same[:most]),
        "complete": seen.value is not None and seen.value.complete,
    }


def _cause(group: Group) -> tuple[str, str]:
    return group.reason, group.error


def letter_fields(letter: DeadLetter) -> Context:
    """For a page and for JSON."""
    return {**msgspec.to_builtins(letter), "error": blot_line(letter.error)}


def letter(found: Letter, group: str, id_field: str) -> Context:
    """One letter, with all there is to know. group: its cause's name, "" where not known."""
    return {
        **letter_fields(found.letter),
        "group": group,
        "history": failures(found.history),
        "traceback": blot_lines(found.traceback),
        "body": None if found.raw is None else blot_order(found.raw, id_field),
    }


def failures(history: Iterable[Failure]) -> list[Context]:
    """The attempts that failed."""
    return [
        {"attempt": each.attempt, "at": each.at, "error": blot_line(each.error)} for each in history
    ]


def workers(states: Mapping[str, Seen[State]], held: Mapping[str, Seen[Running]]) -> Context:
    """Who works on what, and for how long: of each queue, the longest first."""
    return {
        "stale": freshness([*states.values(), *held.values()]),
        "queues": [_workers(name, seen.value, held[name].value) for name, seen in states.items()],
    }


def _workers(name: str, state: State | None, held: Running | None) -> Context:
    now = state.overview if state else None
    return {
        "name": name,
        "at": now.at if now else 0,
        "workers": [msgspec.to_builtins(each) for each in now.workers] if now else [],
        "orders": [msgspec.to_builtins(each) for each in held.orders] if held else [],
        "complete": held is None or held.complete,
    }


def acts(seen: Mapping[str, Seen[list[Act]]], most: int) -> Context:
    """What operators did, the newest first."""
    found = [act for each in seen.values() for act in each.value or []]
    found.sort(key=lambda act: act.at, reverse=True)
    return {
        "stale": freshness(seen.values()),
        "acts": [act_fields(each) for each in found[:most]],
        "several": len(seen) > 1,
    }


def act_fields(act: Act) -> Context:
    """For a page and for JSON."""
    return {
        "queue": act.queue,
        "at": act.at,
        "by": act.by,
        "act": act.act,
        "order_id": act.order_id,
        "count": act.count,
        "what": blot_line(act.what) if act.what else None,
        "why": blot_line(act.why) if act.why else None,
    }
