"""What a log record tells beside its message: fields of the worker, and `extra=` of everybody else.

Extras are a stranger's: they may have any name, any size and any secret, and may raise when they
are looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from math import isfinite

from fulfillment_worker.core.redaction import is_secret_name, redacted
from fulfillment_worker.core.text import clipped

LONGEST_VALUE = 2_000
_LONGEST_NAME = 100
_MOST_FIELDS = 64
_MOST_ITEMS = 50
_DEEPEST = 4
_UNREADABLE = "(it could not be read)"
# What every record has, and what formatters add to it.
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "asctime",
    "message",
    "taskName",
}
_UNSAFE_NUMBER = 2**63


class OwnRecord(logging.LogRecord):
    """An event of the worker's own. fields: of what happened; `exception` is a traceback."""

    def __init__(self, logger: str, level: int, event: str, fields: dict[str, object]) -> None:
        super().__init__(logger, level, "", 0, event, (), None)
        traceback = fields.pop("exception", None)
        # Where formatters of others look for it as well.
        self.exc_text = traceback if isinstance(traceback, str) else None
        self.fields = fields


def fields_of(record: logging.LogRecord, added: Mapping[str, object]) -> dict[str, object]:
    """All fields as values that JSON has, without secrets. Those in `added` give way. Never raises.

    A field that is None is left out.
    """
    own = record.fields if isinstance(record, OwnRecord) else _extras(record)
    return {
        clipped(str(name), _LONGEST_NAME): plain(value, str(name))
        for name, value in (*own.items(), *((n, v) for n, v in added.items() if n not in own))
        if value is not None
    }


def _extras(record: logging.LogRecord) -> dict[str, object]:
    extras: dict[str, object] = {}
    for name, value in list(vars(record).items()):
        if name not in _STANDARD:
            extras[name] = value
            if len(extras) == _MOST_FIELDS:
                break
    return extras


def plain(value: object, name: str = "", depth: int = 0) -> object:
    """The value as JSON has it: bounded, and without secrets. Never raises an Exception."""
    try:
        return _plain(value, name, depth)
    except Exception:  # noqa: BLE001 - any object may fail at being looked at
        return _UNREADABLE


def _plain(value: object, name: str, depth: int) -> object:
    # `type`, not isinstance: an object may lie about its class, or raise.
    kind = type(value)
    if value is None or kind is bool:
        return value
    if is_secret_name(name):
        return "***"
    if kind is int:
        assert isinstance(value, int)
        return value if -_UNSAFE_NUMBER <= value < _UNSAFE_NUMBER else _huge(value)
    if kind is float:
        assert isinstance(value, float)
        return round(value, 6) if isfinite(value) else str(value)
    if depth < _DEEPEST and kind is dict:
        assert isinstance(value, dict)
        return _mapping(value, depth + 1)
    if depth < _DEEPEST and kind in (list, tuple, set, frozenset):
        assert isinstance(value, list | tuple | set | frozenset)
        return _items(value, len(value), depth + 1)
    return _text(value, kind)


def _mapping(value: dict[object, object], depth: int) -> dict[str, object]:
    items: dict[str, object] = {}
    for key, each in value.items():
        if len(items) == _MOST_ITEMS:
            items["…"] = f"{len(value) - _MOST_ITEMS} more"
            break
        name = str(plain(key, depth=_DEEPEST))
        items[clipped(name, _LONGEST_NAME)] = plain(each, name, depth)
    return items


def _items(value: Iterable[object], count: int, depth: int) -> list[object]:
    items: list[object] = []
    for each in value:
        if len(items) == _MOST_ITEMS:
            items.append(f"… {count - _MOST_ITEMS} more")
            break
        items.append(plain(each, depth=depth))
    return items


def _huge(number: int) -> str:
    bits = number.bit_length()
    # Python refuses to print those of more than 4,300 digits, and takes long before that.
    return str(number) if bits < 1_000 else f"an integer of {bits} bits"


def _text(value: object, kind: type) -> str:
    if kind in (bytes, bytearray):
        assert isinstance(value, bytes | bytearray)
        value = bytes(value[: 2 * LONGEST_VALUE])
    elif kind in (dict, list, tuple, set, frozenset):
        assert isinstance(value, dict | list | tuple | set | frozenset)
        return f"({kind.__name__} of {len(value)})"
    return redacted(str(value), LONGEST_VALUE)
