"""Personal data and secrets are blotted out of all that people and programs see here.

Fields go by their names. In text that is no JSON, what looks like such a field goes, and so do
addresses of e-mail and numbers of cards.
"""

from __future__ import annotations

import json
import re
from typing import Any

from fulfillment_worker.core.redaction import redact
from fulfillment_worker.core.text import clipped, text_of, visible

BLOT = "▇▇▇▇"
LONGEST = 64 * 1024
"""Characters of an order or a traceback that are shown."""

_NAMES = (
    *("card", "cvc", "cvv", "iban", "accountnumber", "passw", "secret", "token", "apikey"),
    *("authorization", "credential", "email", "phone", "mobile", "birth", "ssn", "taxid"),
)
_NAME = re.compile("|".join(_NAMES))
_NO_LETTERS = re.compile(r"[^a-z0-9]")
# A name, in quotes or not; then a value in quotes, also one that is cut off, or a word.
_FIELD = re.compile(
    r"""(?P<before>(?P<quote>\\?["']?)(?P<name>[\w.-]{2,64})(?P=quote)\s*[:=]\s*)"""
    r"""(?P<value>\\?"(?:[^"\\]|\\.)*"?|'[^'\n]*'?|[^\s,;&}\]'"]+)"""
)
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w.-])")


def is_personal(name: str) -> bool:
    """Whether a field of this name is blotted out."""
    return _NAME.search(_NO_LETTERS.sub("", name[:128].lower())) is not None


def blot_text(text: str) -> str:
    """Foreign text without what looks personal or secret."""
    text = redact(text)
    text = _FIELD.sub(_field, text)
    return _CARD.sub(_card, _EMAIL.sub(BLOT, text))


def blot_fields(value: Any, id_field: str = "") -> Any:
    """A JSON value whose personal fields are blotted out, at any depth.

    id_field: is shown, whatever it is called.
    """
    if isinstance(value, dict):
        return {
            name: BLOT if is_personal(name) and name != id_field else blot_fields(each)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [blot_fields(each) for each in value]
    return blot_text(value) if isinstance(value, str) else value


def blot_line(text: str) -> str:
    """Foreign text on one line, in which nothing is invisible."""
    return visible(blot_text(text))


def blot_lines(text: str) -> str:
    """Foreign text of several lines, cut where it is very long."""
    told = blot_text(clipped(text, LONGEST))
    return "\n".join(map(visible, told.replace("\t", "    ").splitlines()))


def blot_order(raw: bytes, id_field: str) -> str:
    """An order's bytes as text: its fields one below another where it is JSON, else as it is."""
    try:
        fields = blot_fields(json.loads(raw), id_field)
        told = json.dumps(fields, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return blot_lines(text_of(raw[:LONGEST]))
    return "\n".join(map(visible, clipped(told, LONGEST).split("\n")))


def _field(found: re.Match[str]) -> str:
    return f"{found['before']}{BLOT}" if is_personal(found["name"]) else found[0]


def _card(found: re.Match[str]) -> str:
    return BLOT if _adds_up([int(each) for each in found[0] if each.isdecimal()]) else found[0]


def _adds_up(digits: list[int]) -> bool:
    """Whether they are a card's (Luhn): other long numbers are left as they are."""
    doubled = [d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0
