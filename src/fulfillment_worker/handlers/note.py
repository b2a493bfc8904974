"""The note of an order: what its handler returned, as JSON."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fulfillment_worker.core.decode import NotJson, parse
from fulfillment_worker.core.outcome import SUCCEEDED, Succeeded
from fulfillment_worker.core.text import one_line

MOST_BYTES = 1024
"""Of a note, as JSON: it is kept with the order's status and with its event."""
_LONGEST_WHY = 200


def success(returned: object) -> Succeeded:
    """How an attempt ends whose handler returned this. A dictionary is the note. Never raises."""
    if returned is None or not issubclass(type(returned), dict):
        return SUCCEEDED
    try:
        return _noted(returned, "the handler returned a dictionary that")
    except BaseException as error:  # noqa: BLE001 - what the shop's dictionary holds may do anything
        return Succeeded(fault=f"the handler returned a dictionary that is no JSON: {_text(error)}")


def answered(body: bytes, secrets: Iterable[str]) -> Succeeded:
    """The same for the body of an HTTP answer. What isn't a JSON object is no note.

    secrets: what must not be kept. Never raises.
    """
    text = body.strip()
    if not (text.startswith(b"{") and text.endswith(b"}")):
        return SUCCEEDED
    if len(text) > MOST_BYTES:
        return Succeeded(fault=f"the endpoint answered a JSON object that {_too_large(len(text))}")
    try:
        noted = _noted(parse(text), "the endpoint answered a JSON object that")
    except NotJson:  # also where a string in it can't be encoded
        return SUCCEEDED
    if any(msgspec.json.encode(secret).decode()[1:-1] in noted.note for secret in secrets):
        return Succeeded(fault="the endpoint answered with a secret of the handler's URL")
    return noted


def _noted(found: object, subject: str) -> Succeeded:
    if not found:
        return SUCCEEDED
    note = msgspec.json.encode(found)
    if len(note) > MOST_BYTES:
        return Succeeded(fault=f"{subject} {_too_large(len(note))}")
    return Succeeded(note.decode())


def _too_large(size: int) -> str:
    return f"has {size} bytes as JSON, and a note has {MOST_BYTES} at most"


def _text(error: BaseException) -> str:
    try:
        return one_line(str(error), _LONGEST_WHY) or type(error).__name__
    except BaseException:  # noqa: BLE001 - as above
        return type(error).__name__
