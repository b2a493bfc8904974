"""How the bytes of a dead letter may be edited, and what becomes of them.

The tokens of the order stay as they are written: a price of 1.10 is no 1.1 afterwards, and a number
too large for a float keeps its digits.
"""

from __future__ import annotations

import difflib

import msgspec

from fulfillment_worker.core.decode import Decoded, NotJson, decode

_CONTEXT = 3
"""Lines of a difference that are the same, around those that are not."""
_Fields = dict[str, msgspec.Raw]


def readable(raw: bytes) -> bytes:
    """The order as a person edits it: indented JSON, or its very bytes where they are no JSON."""
    try:
        return msgspec.json.format(raw, indent=2) + b"\n"
    except NotJson:
        return raw


def as_before(old: bytes, text: bytes) -> bytes:
    """The edited text with as much white space in it as the old bytes have, where it is JSON."""
    spaced = next((indent for indent in (-1, 0) if _formatted(old, indent) == old), -1)
    return _formatted(text, spaced)


def with_fields(raw: bytes, assignments: list[str]) -> bytes:
    """The order with each `field=json` set. A dotted name is a path into its objects.

    Raises ValueError, with a message for the user.
    """
    for each in assignments:
        name, equals, text = each.partition("=")
        if not (name and equals):
            raise ValueError(f"{each!r}: give FIELD=JSON, such as quantity=2 or sku='\"MUG-BLUE\"'")
        try:
            value = msgspec.json.format(text.encode(), indent=-1)
            msgspec.json.decode(value)
        except (*NotJson, UnicodeEncodeError):
            said = f"the value of {name!r} is no JSON; a text is given in quotes: {name}='\"…\"'"
            raise ValueError(said) from None
        raw = _set(raw, name, name, value)
    return raw


def _set(raw: bytes, name: str, path: str, value: bytes) -> bytes:
    try:
        fields = msgspec.json.decode(raw, type=_Fields)
    except NotJson:
        at = name.removesuffix(path).rstrip(".")
        what = f"the field {at!r}" if at else "the order"
        raise ValueError(f"{name!r} can't be set: {what} is no JSON object") from None
    first, _, rest = path.partition(".")
    if rest and path not in fields:
        inner = bytes(fields.get(first, b"{}"))
        fields[first] = msgspec.Raw(_set(inner, name, rest, value))
    else:
        fields[path] = msgspec.Raw(value)
    return msgspec.json.encode(fields)


def fault_of(new: bytes, order_id: str, *, id_field: str, max_bytes: int) -> str:
    """Why these bytes can't take the place of the letter's; "" where they can.

    order_id: the letter's, which stays; "" where it had none, and gets that of the new bytes.
    """
    read = decode(new, id_field=id_field, max_bytes=max_bytes)
    if not isinstance(read, Decoded):
        return f"it is no order: {read.why}"
    if order_id and read.id != order_id:
        return f"its {id_field} is {read.id!r}, and the letter's is {order_id!r}: the id stays"
    return ""


def id_of(raw: bytes, *, id_field: str) -> str:
    """The id of an order that has no fault."""
    read = decode(raw, id_field=id_field, max_bytes=len(raw))
    assert isinstance(read, Decoded)
    return read.id


def difference(old: bytes, new: bytes) -> list[str]:
    """What differs, line by line, as `diff -u` tells it; the lines hold foreign text."""
    before, after = (
        readable(raw).decode(errors="backslashreplace").splitlines() for raw in (old, new)
    )
    lines = list(difflib.unified_diff(before, after, "before", "after", lineterm="", n=_CONTEXT))
    return lines or ["(only white space differs)"]


def _formatted(raw: bytes, indent: int) -> bytes:
    try:
        return msgspec.json.format(raw.strip(), indent=indent)
    except NotJson:
        return raw.strip()
