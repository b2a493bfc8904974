"""From the bytes on the list to an order, or to the reason why they are none.

The rules are the contract's: a JSON object (RFC 8259) in UTF-8, not above a size, nested 200 levels
deep at most, with an id that is a string of 1 to 128 characters without control characters, or an
integer.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Any, NoReturn

import msgspec

MAX_ID_CHARACTERS = 128
MAX_NESTING = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# W3C Trace Context, level 1: version 00, and neither id all zeros.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")
_RFC3339 = Annotated[datetime, msgspec.Meta(tz=True)]
_YEAR_2000, _YEAR_10000 = 946684800.0, 253402300800.0
_TOO_DEEP = f"nested too deeply: at most {MAX_NESTING} levels are allowed"
_BETWEEN = re.compile(r"[ \t\r\n]*,?[ \t\r\n]*")
_CONTAINERS = (dict, list)

_parse = msgspec.json.Decoder().decode
NotJson = (msgspec.MsgspecError, ValueError, RecursionError)
"""What `parse` raises."""


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
        return Undecodable(too_large(len(raw), max_bytes))
    try:
        try:
            body = _parse(raw)  # as `parse` does, in the shortest way: once for each order
        except msgspec.MsgspecError as error:
            body = _parse_leniently(raw, error)
    except NotJson as error:
        return Undecodable(_why_not_json(raw, error))
    if len(raw) > 2 * MAX_NESTING and _may_be_deep(raw) and _is_too_deep(body):
        return Undecodable(_TOO_DEEP)
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


def too_large(size: int, max_bytes: int) -> str:
    """Why an entry of `size` bytes is no order. `claim.lua` writes the same into a dead letter."""
    return f"too large: {size} bytes, at most {max_bytes} are allowed"


def parse(raw: bytes) -> Any:
    """The value of a JSON text. Raises one of NotJson.

    A string may hold half a surrogate pair, and a number too large for a float is infinite: such
    texts are legal JSON, and JavaScript writes the former when it cuts an emoji in two.
    """
    try:
        return _parse(raw)
    except msgspec.MsgspecError as error:
        return _parse_leniently(raw, error)


def _parse_leniently(raw: bytes, error: msgspec.MsgspecError) -> Any:
    # The fast parser refuses both; only they are worth a second look.
    if b"\\u" not in raw and not isinstance(error, msgspec.ValidationError):
        raise error
    try:
        return _lenient.decode(raw.decode())
    except ValueError:
        raise error from None


def split_array(raw: bytes) -> list[bytes]:
    """The items of a JSON array, each in its very bytes. Raises one of NotJson."""
    try:
        return [bytes(item) for item in msgspec.json.decode(raw, type=list[msgspec.Raw])]
    except msgspec.MsgspecError:
        if type(parse(raw)) is not list:
            raise
    # The text is an array: only where its items begin and end is to be found.
    text, items = raw.decode(), list[bytes]()
    start = _next_item(text, text.index("[") + 1)
    while text[start] != "]":
        _, end = _lenient.raw_decode(text, start)
        items.append(text[start:end].encode())
        start = _next_item(text, end)
    return items


def _next_item(text: str, end: int) -> int:
    between = _BETWEEN.match(text, end)
    return between.end() if between else end


def _whole(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # more digits than Python reads, since that takes too long
        return float(digits)


def _not_a_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_lenient = json.JSONDecoder(parse_int=_whole, parse_constant=_not_a_number)


def _may_be_deep(raw: bytes) -> bool:
    """Whether the text has enough brackets."""
    return raw.count(b"[") + raw.count(b"{") > MAX_NESTING


def _is_too_deep(value: object) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_NESTING):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in _CONTAINERS
        ]
        if not level:
            return False
    return True


def _order_id(value: object, id_field: str) -> str | Undecodable:
    if type(value) is str:
        if not 1 <= len(value) <= MAX_ID_CHARACTERS:
            return Undecodable(
                f"the id in {id_field!r} has {len(value)} characters, "
                f"1 to {MAX_ID_CHARACTERS} are allowed"
            )
        if unusable := _CONTROL.search(value):
            what = "half a surrogate pair" if unusable[0] > "\x9f" else "a control character"
            return Undecodable(f"the id in {id_field!r} contains {what}")
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


def is_id(text: str) -> bool:
    """Whether an order's id may be this text."""
    return 1 <= len(text) <= MAX_ID_CHARACTERS and not _CONTROL.search(text)


def enqueued_unix(body: dict[str, Any]) -> float | None:
    """When the order says that it was enqueued, in Unix seconds; None where it says nothing usable.

    `enqueued_at`, else `created_at`: RFC 3339 with an offset, or a number of Unix seconds. A time
    before the year 2000 is unusable.
    """
    for field in ("enqueued_at", "created_at"):
        if field in body:
            seconds = unix_seconds(body[field])
            if seconds is not None:
                return seconds
    return None


def unix_seconds(value: object) -> float | None:
    """A time as orders tell it, see `enqueued_unix`; None where it is not usable."""
    if isinstance(value, str):
        try:
            value = msgspec.convert(value, _RFC3339).timestamp()
        except (msgspec.ValidationError, ValueError, OverflowError):
            return None
    # Above year 9999 it is no time in seconds, but in milliseconds or smaller. Before 2000 it is a
    # time that nobody has set: 0 in C, JavaScript and SQL, the year 1 in Go.
    if type(value) in (int, float) and _YEAR_2000 <= value < _YEAR_10000:  # type: ignore[operator]
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
        return _TOO_DEEP
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as mistake:
        return f"not UTF-8 (byte {mistake.start})"
    # The library's message holds a position, never a piece of the entry.
    return f"not JSON: {str(error).removeprefix('JSON is malformed: ')}"


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    return names.get(type(value), "an array" if isinstance(value, list) else "an object")
