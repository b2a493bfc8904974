"""Rounds in which everything is run once, so that a slow minute of the machine slows all alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def in_turns(runs: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each gave in each round. One that fails is told, and left out of all."""
    found: dict[str, list[T]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(found):
            _tell(f"round {number + 1} of {rounds}: {name}")
            try:
                found[name].append(runs[name]())
            except (RuntimeError, AssertionError, OSError) as error:
                del found[name]
                print(f"\n{name} is left out: {error}", file=sys.stderr)
    _tell("")
    if not found:
        raise SystemExit("nothing is left to show")
    return found


def _tell(what: str) -> None:
    """On a terminal, what is going on now."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)
