"""The independent record: what handlers wrote, read as it grows, and which calls were whose.

Each line is one write to a file opened with O_APPEND and O_DSYNC: it is on the disk before the
handler goes on. Its times are those of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

HANDLER = Path(__file__).with_name("shop.py").read_text()

DIES_DECODING = """
import json, os, time
from fulfillment_worker.core import decode as module

honest = module.decode

def decode(raw, **rules):
    if b'"do": "decode"' in raw:
        log = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_DSYNC)
        told = ["died", os.getpid(), int(os.environ["SLOT"]), 0, time.monotonic()]
        os.write(log, json.dumps(told).encode() + b"\\n")
        os._exit(9)
    return honest(raw, **rules)

module.decode = decode
"""
"""The module `sitecustomize`, which the interpreter imports at its start."""


@dataclass(slots=True, eq=False)
class Call:
    """One run of the handler. end, how ("ok", "raised", "cut", "died"): as it was written.

    wall: what the clock of its process said at the start, in Unix seconds. slot: its worker's.
    """

    pid: int
    slot: int
    number: int
    order_id: str
    attempt: int
    start: float
    wall: float
    end: float | None = None
    how: str = ""


class Record:
    """Reads the handlers' log as it grows.

    died: when a process ended while it decoded an order, by its pid. short: when one had no memory.
    slot_of: the slot of each process that said anything, by its pid.
    """

    def __init__(self, path: Path) -> None:
        self.env = {"CALLS": str(path)}
        self.calls: list[Call] = []
        self.finished: list[Call] = []
        self.died: dict[int, float] = {}
        self.short: dict[int, float] = {}
        self.slot_of: dict[int, int] = {}
        self.by_order: dict[str, list[Call]] = defaultdict(list)
        self._running: dict[tuple[int, int], Call] = {}
        self._rest = b""
        path.touch()
        self._file = path.open("rb")

    def refresh(self) -> None:
        """Read what was written since."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            self._take(*json.loads(line))

    def running(self, pid: int) -> list[Call]:
        """The calls of this process that have no end."""
        return [call for call in self._running.values() if call.pid == pid]

    def finished_before(self, at: float) -> int:
        """How many calls had ended by then."""
        return bisect_left(self.finished, at, key=lambda call: call.end or 0.0)

    def close(self) -> None:
        self._file.close()

    def _take(self, what: str, pid: int, slot: int, number: int, at: float, *more: object) -> None:
        self.slot_of[pid] = slot
        if what in ("died", "short"):
            (self.died if what == "died" else self.short)[pid] = at
            return
        if what == "start":
            order_id, attempt, wall = more
            call = Call(pid, slot, number, str(order_id), int(str(attempt)), at, float(str(wall)))
            self.calls.append(call)
            self.by_order[call.order_id].append(call)
            self._running[pid, number] = call
            return
        call = self._running.pop((pid, number))
        call.end, call.how = at, str(more[0])
        self.finished.append(call)
