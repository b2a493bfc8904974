"""Handlers that write down each call, and the reading of what they wrote.

The log outlives a SIGKILL: each line is one write to a file opened with O_APPEND. Its times are
those of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

# Starts a handler's source: `note(order, "start")` writes a line to the file named by CALLS.
NOTE = """
import asyncio, json, os, sys, time
from fulfillment_worker import Reject, Retry

_gate = os.environ["CALLS"] + ".open"
_log = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def note(order, what):
    line = [what, order.id, order.attempt, time.monotonic(), os.getpid()]
    os.write(_log, json.dumps(line).encode() + b"\\n")
"""


def taking(seconds: float) -> str:
    """The source of an async handler that takes so long, and notes its start and its end."""
    return (
        NOTE
        + f"""
async def fulfil(order):
    note(order, "start")
    await asyncio.sleep({seconds})
    note(order, "end")
"""
    )


def blocking(define: str, wait: str) -> str:
    """The source of a handler that blocks its thread until `Calls.open_gate()`.

    define: `def` or `async def`. wait: what it does meanwhile, again and again.
    """
    return (
        NOTE
        + f"""
{define} fulfil(order):
    note(order, "start")
    while not os.path.exists(_gate):
        {wait}
    note(order, "end")
"""
    )


class Call(NamedTuple):
    """One line. at: seconds of CLOCK_MONOTONIC. pid: of the worker."""

    what: str
    order_id: str
    attempt: int
    at: float
    pid: int


class Calls:
    """What handlers wrote to the file `path`. env: what tells a worker to write there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.env = {"CALLS": str(path)}

    def open_gate(self) -> None:
        """Let handlers that are `blocking` go on."""
        self._path.with_name(self._path.name + ".open").touch()

    def all(self, what: str = "start") -> list[Call]:
        """The lines of this kind so far, oldest first."""
        if not self._path.exists():
            return []
        whole = self._path.read_bytes().rpartition(b"\n")[0]
        calls = [Call(*json.loads(line)) for line in whole.splitlines()]
        return [call for call in calls if call.what == what]

    def count(self, what: str = "start") -> int:
        """How many lines of this kind there are; cheaper than to read them."""
        if not self._path.exists():
            return 0
        return self._path.read_bytes().count(f'["{what}"'.encode())

    def ids(self, what: str = "start") -> list[str]:
        return [call.order_id for call in self.all(what)]

    def overlapping(self) -> list[str]:
        """Orders that were handled twice at the same time. Calls without an end don't count."""
        ends: dict[tuple[str, int], list[float]] = defaultdict(list)
        for end in self.all("end"):
            ends[end.order_id, end.pid].append(end.at)
        spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for start in self.all("start"):
            later = [at for at in ends[start.order_id, start.pid] if at >= start.at]
            if later:
                spans[start.order_id].append((start.at, later[0]))
        return [order_id for order_id, times in spans.items() if _overlap(sorted(times))]


def _overlap(spans: list[tuple[float, float]]) -> bool:
    return any(later[0] < earlier[1] for earlier, later in pairwise(spans))
