"""A history as people read it: one line for each thing that happened."""

from __future__ import annotations

import json
from typing import Any

_LINES = {
    "enqueued": "LPUSH {order} to {queue}",
    "status": "{order} of {queue} is {status}, attempt {attempt}, by {worker}",
    "heard": "Redis hears {name} on {queue}",
    "started": "{worker} calls the handler for {order}, attempt {attempt}, which does: {does}",
    "ended": "the handler ends in {worker} for {order}: {how}",
    "up": "{worker} starts",
    "died": "{worker} is killed",
    "drained": "{worker} ends by itself: {how}",
    "stopped": "{worker} is stopped (SIGSTOP)",
    "continued": "{worker} goes on (SIGCONT)",
    "released": "the supervisor gives back what {worker} held",
    "rolled_back": "Redis comes back with {queue} as it was at {to}",
    "deleted": "an operator deletes {queue}: {orders}",
    "paused": "an operator pauses {queue}",
    "resumed": "an operator resumes {queue}",
    "retried": "an operator retries {order} of {queue}",
    "dropped": "an operator drops {order} of {queue}",
    "limited": "an operator limits {queue}: {in_flight} in flight, {at_once} of a key",
    "asked": "an operator wants to {act} {order} of {queue}",
    "places": "{queue}: {waiting} waiting, {in_flight} in flight, {retrying} retrying, "
    "{dead} dead, {fulfilled} fulfilled, {duplicates} duplicates, {dropped} dropped, "
    "{held} held, {cancelled} cancelled",
    "fault": "FAULT {kind} ({id})",
    "mended": "mended: {id}",
    "calm": "CALM",
    "room": "{worker} has room for {free}",
    "exchange": "{worker} sends something",
    "told": "{worker} tells: {what} {fields}",
    "end": "THE END",
}


def told(line: str) -> str:
    """The line of a history, as a sentence."""
    event: dict[str, Any] = json.loads(line)
    form = _LINES.get(event["event"], "{event}")
    said = {"worker": "somebody", "attempt": "?"} | event
    return f"{event['t']:12.6f}  {form.format_map(said)}"
