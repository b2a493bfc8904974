"""From the bytes on the list to an order, or to the reason why they are none.

The rules are the contract's: a JSON object (RFC 8259) in UTF-8, not above a size, with an id
that is a string of 1 to 128 characters without control characters, or an integer.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

import msgspec

MAX_ID_CHARACTERS = 128
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# W3C Trace Context, level 1: version 00, and neither id all zeros.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")
_RFC3339 = Annotated[datetime, msgspec.Meta(tz=True)]
_YEAR_10000 = 253402300800.0

_parse = msgspec.json.Decoder().decode


class Decoded(msgspec.Struct, frozen=True):
    """The parts of an order that its bytes tell. enqueued_unix: Unix seconds."""

    id: str
    body: dict[str, Any]
    enqueued_unix: float | None
    traceparent: str | None
    tracestate: str | None


class Undecodable(msgspec.Struct, frozen=True):
    """why: one line for a person; it never quotes the entry, which may hold anything."""

    why: str


def decode(raw: bytes, *, id_field: str, max_bytes: int) -> Decoded | Undecodable:
    """Read one entry of the list. Never raises, whatever the bytes."""
    if len(raw) > max_bytes:
        return Undecodable(f"too large: {len(raw)} bytes, at most {max_bytes} are allowed")
    try:
        body = _parse(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Undecodable(_why_not_json(raw, error))
    if type(body) is not dict:
        return Undecodable(f"not a JSON object but {_json_type(body)}")
    order_id = _order_id(body.get(id_field, msgspec.UNSET), id_field)
    if type(order_id) is Undecodable:
        return order_id
    if "traceparent" in body:
        traceparent, tracestate = _trace_context(body)
    else:
        traceparent = tracestate = None
    return Decoded(str(order_id), body, enqueued_unix(body), traceparent, tracestate)


def _order_id(value: object, id_field: str) -> str | Undecodable:
    if type(value) is str:
        if not 1 <= len(value) <= MAX_ID_CHARACTERS:
            return Undecodable(
                f"the id in {id_field!r} has {len(value)} characters, "
                f"1 to {MAX_ID_CHARACTERS} are allowed"
            )
        if _CONTROL.search(value):
            return Undecodable(f"the id in {id_field!r} contains a control character")
        return value
    if type(value) is int:
        digits = str(value)
        if len(digits) > MAX_ID_CHARACTERS:
            return Undecodable(f"the id in {id_field!r} has more than {MAX_ID_CHARACTERS} digits")
        return digits
    if value is msgspec.UNSET:
        return Undecodable(f"no id: the field {id_field!r} is missing")
    return Undecodable(
        f"the id in {id_field!r} is {_json_type(value)}, a string or an integer is allowed"
    )


def enqueued_unix(body: dict[str, Any]) -> float | None:
    """When the order says that it was enqueued, in Unix seconds; None where it says nothing usable.

    `enqueued_at`, else `created_at`: RFC 3339 with an offset, or a number of Unix seconds.
    """
    for field in ("enqueued_at", "created_at"):
        if field in body:
            seconds = _unix_seconds(body[field])
            if seconds is not None:
                return seconds
    return None


def _unix_seconds(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = msgspec.convert(value, _RFC3339).timestamp()
        except (msgspec.ValidationError, ValueError, OverflowError):
            return None
    # Above year 9999 it is no time in seconds (but in milliseconds, say); below 0, none of ours
    # (but a time that nobody has set, say: Go's is of the year 1).
    if type(value) in (int, float) and 0 <= value < _YEAR_10000:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    return None


def _trace_context(body: dict[str, Any]) -> tuple[str | None, str | None]:
    parent, state = body.get("traceparent"), body.get("tracestate")
    if not isinstance(parent, str) or not _TRACEPARENT.fullmatch(parent):
        return None, None
    if not isinstance(state, str) or not _TRACESTATE.fullmatch(state):
        return parent, None
    return parent, state


def _why_not_json(raw: bytes, error: Exception) -> str:
    if not raw:
        return "empty"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as mistake:
        return f"not UTF-8 (byte {mistake.start})"
    if isinstance(error, msgspec.ValidationError):
        return "a number is out of range"
    # The library's message holds a position, never a piece of the entry.
    return f"not JSON: {str(error).removeprefix('JSON is malformed: ')}"


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    return names.get(type(value), "an array" if isinstance(value, list) else "an object")
