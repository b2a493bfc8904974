"""Writing to people: errors, colours and times."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from typing import Any

import click

from fulfillment_worker.core.redaction import quoted
from fulfillment_worker.core.text import visible

_AGES = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000))


def complain(message: str) -> None:
    """Write each line of `message` to standard error, with the program's name before it."""
    for line in message.splitlines():
        click.echo(f"fulfillment-worker: {visible(line)}", err=True)


def no_such_queue(queue: str) -> str:
    """What to say of a queue that nobody has used."""
    return (
        f"there is no queue {quoted(queue)}: no order was ever placed on it, and no worker has "
        "served it; correct --queue or FULFILLMENT_QUEUE"
    )


def coloured(text: str, **style: Any) -> str:
    """`text` in a style (as click.style), where the user sees colours and wants them."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return click.style(text, **style)


def indented(text: str) -> list[str]:
    """Lines of foreign text, to stand below others, with nothing in them that steers a terminal."""
    return [f"  {visible(line)}" for line in text.splitlines()]


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Write a value as JSON in ASCII, so that nothing in it can steer a terminal."""
    click.echo(json.dumps(value, indent=indent))


def moment(at: int, now: int) -> str:
    """A Unix time in ms as a local RFC 3339 time, and how long ago or ahead it is."""
    try:
        told = datetime.fromtimestamp(at / 1000).astimezone().isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"{at} ms after 1970"
    return f"{told} ({away(at, now)})"


def time_of_day(at: int | None) -> str:
    """A Unix time in ms as a local time, with its date where it isn't today's; "" for none."""
    try:
        told = None if at is None else datetime.fromtimestamp(at / 1000).astimezone()
    except (ValueError, OverflowError, OSError):
        told = None
    if told is None:
        return ""
    is_today = told.date() == datetime.now().astimezone().date()
    return f"{told:%H:%M}" if is_today else f"{told:%F %H:%M}"


def away(at: int, now: int) -> str:
    """How far a Unix time in ms is from `now`, in its largest unit: `3m ago`, `in 20s`."""
    distance = abs(now - at)
    for unit, size in _AGES:
        if distance >= size:
            text = f"{distance // size}{unit}"
            return f"{text} ago" if at <= now else f"in {text}"
    return "now"


def table(rows: list[list[str]], *, left: int = 1) -> list[str]:
    """Rows as aligned lines; the first `left` columns begin on the left, the others end right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_cells(row, widths, left)).rstrip() for row in rows]


def _cells(row: list[str], widths: list[int], left: int) -> list[str]:
    cells = enumerate(zip(row, widths, strict=True))
    return [
        cell.ljust(width) if place < left else cell.rjust(width) for place, (cell, width) in cells
    ]
