"""What a handler under measurement calls: tells how far it is, at next to no cost.

Needs nothing but the standard library, for it runs in the peers' environments too.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

_EVERY = int(os.environ["BENCH_EVERY"])
_file = os.open(os.environ["BENCH_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_numbers = itertools.count(1)
_arrived: list[tuple[int, int]] = []


def mark() -> None:
    """One more order is at its handler."""
    number = next(_numbers)
    if number % _EVERY == 0:
        os.write(_file, b"%d %d\n" % (number, time.monotonic_ns()))


def arrive(order_id: str) -> None:
    """This order is at its handler: told at once of the first one, of all others at the end."""
    now = time.monotonic_ns()
    _arrived.append((int(order_id.removeprefix("A-")), now))
    if len(_arrived) in (1, int(os.environ["BENCH_MANY"])):
        tell(b"".join(b"%d %d\n" % each for each in _arrived))


def tell(line: bytes) -> None:
    """A line of the handler's own among the marks."""
    os.write(_file, line)


def first_to_get_here() -> bool:
    """Whether no process of this run was here before. The file then has the process's id."""
    try:
        with Path(os.environ["BENCH_MARKS"] + ".first").open("x", encoding="ascii") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True
