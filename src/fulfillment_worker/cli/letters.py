"""Dead letters as text and as JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from fulfillment_worker.admin.rules.causes import DeadLetter, Group
from fulfillment_worker.admin.whereabouts import Failure
from fulfillment_worker.cli.terminal import away, coloured, indented, moment, table
from fulfillment_worker.core.text import text_of, visible


class DeadLetterDetail(msgspec.Struct, frozen=True):
    """A dead letter with all there is to know. history: the attempts that failed.

    traceback: of the last of them, "" where there is none.
    """

    letter: DeadLetter
    group: str
    raw: bytes
    history: list[Failure]
    traceback: str = ""


def group_lines(groups: Iterable[Group], now: int) -> list[str]:
    """A table of groups. now: Unix ms."""
    rows = list(groups)
    counts = [["GROUP", "QUEUE", "COUNT", "NEWEST", "OLDEST"]]
    causes = [["EXAMPLE", "ERROR"]]
    for each in rows:
        ages = [away(each.newest, now), away(each.oldest, now)]
        counts.append([visible(each.group), visible(each.queue), str(each.count), *ages])
        causes.append([visible(each.example) or "-", visible(each.error)])
    return _beside(table(counts, left=2), table(causes, left=2))


def letter_lines(
    letters: Iterable[DeadLetter], group_of: dict[DeadLetter, str], now: int
) -> list[str]:
    """A table of letters. now: Unix ms."""
    numbers = [["LETTER", "DIED", "FAILURES", "ORPHANINGS"]]
    causes = [["QUEUE", "ORDER", "GROUP", "ERROR"]]
    for each in letters:
        counts = (each.failures, each.orphanings)
        numbers.append([str(each.number), away(each.at, now), *map(str, counts)])
        told = (each.queue, each.order_id or "-", group_of[each], each.error)
        causes.append([visible(text) for text in told])
    return _beside(table(numbers, left=0), table(causes, left=4))


def _beside(left: list[str], right: list[str]) -> list[str]:
    return [f"{one}  {other}" for one, other in zip(left, right, strict=True)]


def opened_lines(opened: DeadLetterDetail, now: int) -> Iterator[str]:
    """Everything about one letter; its bytes last. now: Unix ms."""
    letter = opened.letter
    name = coloured(visible(letter.order_id or "no order id"), bold=True)
    yield f"{name}  {coloured(visible(letter.reason), fg='red')}"
    for label, text in _details(opened, now):
        yield f"  {label:<13} {visible(text)}"
    yield from indented(opened.traceback)
    yield visible(text_of(opened.raw))


def _details(opened: DeadLetterDetail, now: int) -> Iterator[tuple[str, str]]:
    letter = opened.letter
    yield "letter", str(letter.number)
    yield "queue", letter.queue
    yield "group", opened.group
    yield "error", letter.error
    yield "first claimed", moment(letter.first_seen, now)
    yield "died", moment(letter.at, now)
    yield "worker", letter.worker
    yield "failures", str(letter.failures)
    yield "orphanings", str(letter.orphanings)
    for failure in opened.history:
        yield f"failed ({failure.attempt})", f"{moment(failure.at, now)}: {failure.error}"
    yield "bytes", str(letter.size)
    if letter.edited is not None:
        yield "edited", moment(letter.edited, now)


def letter_fields(letter: DeadLetter, group: str) -> dict[str, Any]:
    """For JSON."""
    return {**msgspec.to_builtins(letter), "group": group}


def opened_fields(opened: DeadLetterDetail) -> dict[str, Any]:
    """For JSON: with `body`, or with `body_base64` where the bytes are not UTF-8."""
    fields = letter_fields(opened.letter, opened.group)
    fields["history"] = msgspec.to_builtins(opened.history)
    fields["traceback"] = opened.traceback or None
    return {**fields, **bytes_as_json("body", opened.raw)}


def bytes_as_json(name: str, raw: bytes) -> dict[str, str]:
    """Bytes for JSON: as text, or as `NAME_base64` where they are not UTF-8."""
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(raw).decode()}
