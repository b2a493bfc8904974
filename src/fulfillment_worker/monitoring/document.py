"""YAML for rule files: only what they need, so that the program needs no library for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

Value: TypeAlias = "str | int | float | Sequence[Value] | Mapping[str, Value]"

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_:/.-]*[A-Za-z0-9_]|[A-Za-z]")
# What YAML takes for something else than text.
_TAKEN = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def yaml(value: Mapping[str, Value]) -> str:
    """A document, in block style, in the order of the mapping."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Value) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _entry(f"{_text(key)}:", inner)
    elif isinstance(value, Sequence):
        for inner in value:
            first, *others = _lines(inner) if _is_block(inner) else [_scalar(inner)]
            yield f"- {first}"
            yield from (f"  {line}" for line in others)


def _entry(key: str, value: Value) -> Iterator[str]:
    if isinstance(value, str) and _is_literal(value):
        yield f"{key} |-"
        yield from (f"  {line}" for line in value.split("\n"))
    elif _is_block(value):
        yield key
        yield from (f"  {line}" for line in _lines(value))
    else:
        yield f"{key} {_scalar(value)}"


def _is_literal(text: str) -> bool:
    """Whether it is easier to read on lines of its own: it has several, or quotes."""
    lines = text.split("\n")
    whole = lines[-1] != "" and lines[0][:1] not in ("", " ")
    return whole and all(map(str.isprintable, lines)) and (len(lines) > 1 or '"' in text)


def _is_block(value: Value) -> bool:
    return not isinstance(value, (str, int, float)) and len(value) > 0


def _scalar(value: Value) -> str:
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    """Plain where nobody can take it for something else; else as JSON writes it, as YAML may."""
    if _PLAIN.fullmatch(text) and text.lower() not in _TAKEN:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in quoted)
