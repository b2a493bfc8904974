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

HANDLER = """
import asyncio, ctypes, itertools, json, os, sys, threading, time

_log = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_DSYNC, 0o600)
_numbers = itertools.count(1)

_hoard, _leaks = [], []

def note(what, number, *more):
    try:
        line = json.dumps([what, os.getpid(), number, time.monotonic(), *more])
        os.write(_log, line.encode() + b"\\n")
    except MemoryError:
        _hoard.clear()  # What is written down counts, so it must be possible.
        note(what, number, *more)

async def eat():
    try:
        while len(_hoard) < 1000:
            _hoard.append(bytearray(65536))
        await asyncio.sleep(0)
    except MemoryError:
        note("short", 0)
        await asyncio.sleep(0.05)  # The others have to do without.
        raise
    finally:
        _hoard.clear()

def leak():
    _leaks.append(bytearray(1 << 20))
    _leaks.append(os.open(os.devnull, os.O_RDONLY))
    _leaks.append(asyncio.ensure_future(asyncio.sleep(3600)))
    _leaks.append(threading.Thread(target=threading.Event().wait))
    _leaks[-1].start()

class Rubbish:
    def __bool__(self):
        raise ValueError("rubbish")
    __str__ = __repr__ = __iter__ = __len__ = __bool__

async def misbehave(order, number):
    first, what = order.attempt == 1, order.body.get("do", "")
    if what == "raise" and order.attempt < 3 or what == "fail_once" and first:
        raise ValueError("as it was told")
    if what == "hang" and first:
        await asyncio.sleep(60)
    if what == "block":
        ends = time.monotonic() + 0.3
        while time.monotonic() < ends:  # libfaketime knows no time.sleep.
            pass
    if what == "sys_exit" and first:
        sys.exit(7)
    if what == "eat" and first:
        await eat()
    if what == "leak":
        leak()
    if what in ("os_exit", "segfault"):
        note("end", number, "died")
        os._exit(9) if what == "os_exit" else ctypes.string_at(0)
    return Rubbish() if what == "rubbish" else None

async def fulfil(order):
    number, how = next(_numbers), "raised"
    note("start", number, order.id, order.attempt, time.time())
    try:
        await asyncio.sleep(order.body.get("takes", 0))
        result = await misbehave(order, number)
        how = "ok"
        return result
    except asyncio.CancelledError:
        how = "cut"
        raise
    finally:
        note("end", number, how)
"""
"""The module `shop` of the workers. An order says in `do` how its handling goes wrong."""

DIES_DECODING = """
import json, os, time
from fulfillment_worker.core import decode as module

honest = module.decode

def decode(raw, **rules):
    if b'"do": "decode"' in raw:
        log = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_DSYNC)
        os.write(log, json.dumps(["died", os.getpid(), 0, time.monotonic()]).encode() + b"\\n")
        os._exit(9)
    return honest(raw, **rules)

module.decode = decode
"""
"""The module `sitecustomize`, which the interpreter imports at its start."""


@dataclass(slots=True, eq=False)
class Call:
    """One run of the handler. end, how ("ok", "raised", "cut", "died"): as it was written.

    wall: what the clock of its process said at the start, in Unix seconds.
    """

    pid: int
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
    """

    def __init__(self, path: Path) -> None:
        self.env = {"CALLS": str(path)}
        self.calls: list[Call] = []
        self.finished: list[Call] = []
        self.died: dict[int, float] = {}
        self.short: dict[int, float] = {}
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

    def _take(self, what: str, pid: int, number: int, at: float, *more: object) -> None:
        if what in ("died", "short"):
            (self.died if what == "died" else self.short)[pid] = at
            return
        if what == "start":
            order_id, attempt, wall = more
            call = Call(pid, number, str(order_id), int(str(attempt)), at, float(str(wall)))
            self.calls.append(call)
            self.by_order[call.order_id].append(call)
            self._running[pid, number] = call
            return
        call = self._running.pop((pid, number))
        call.end, call.how = at, str(more[0])
        self.finished.append(call)
