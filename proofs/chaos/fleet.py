"""The workers: one in each slot, replaced when it dies, and ended for certain."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

from proofs.chaos.record import DIES_DECODING, HANDLER
from proofs.chaos.sites import Site
from tests.support.eventually import PATIENCE, eventually
from tests.support.worker import RunningWorker

LEASE = 1.0
MAX_ORPHANINGS = 5
MAX_ATTEMPTS = 10
TIMEOUT = 1.0
GRACE = 3.0
POISONED = (9, -signal.SIGSEGV, -signal.SIGALRM)
"""The exit codes with which poison orders end their worker."""
READY = PATIENCE
"""Seconds in which a worker must consume. The machine may be a slow one, with much else to do."""
_DRAINED = 60.0
"""Seconds in which a worker that was told to stop must have ended."""
_OPTIONS = (
    *("--concurrency", "8", "--order-timeout", f"{TIMEOUT}s"),
    *("--retry-base", "200ms", "--retry-cap", "1s", "--max-orphanings", str(MAX_ORPHANINGS)),
    *("--max-attempts", str(MAX_ATTEMPTS), "--shutdown-grace", f"{GRACE}s", "--log-format", "json"),
)


@dataclass(frozen=True)
class Make:
    """How a worker differs from the common ones: options after theirs, its environment, its lease.

    supervised: whether it is several processes under a supervisor. plain: whether its handler
    runs in threads, which nobody can stop.
    """

    options: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    lease: float = LEASE
    supervised: bool = False
    plain: bool = False


COMMON = Make()
PROCESSES = 2
SUPERVISED = Make(options=("--processes", str(PROCESSES)), supervised=True)


class Deed(NamedTuple):
    """What was done to a process: "up", "draining", "stopped" or "continued" (docs/history.md)."""

    at: float
    what: str
    pid: int
    lease: float = LEASE


class Fleet:
    """Four workers of one queue.

    deeds: what was done to its processes, but for their ends.
    deaths: when each process that is gone was seen to be, in monotonic seconds.
    killed: the processes that were given no time to end. frail: those that may end by themselves.
    plain: those whose handler runs in threads.
    complaints: exits that nobody asked for.
    """

    def __init__(self, folder: Path, site: Site, env: dict[str, str]) -> None:
        self.frail: set[int] = set()
        self.plain: set[int] = set()
        self.deeds: list[Deed] = []
        self.deaths: dict[int, float] = {}
        self.killed: set[int] = set()
        self.complaints: list[str] = []
        self._site = site
        self._folder = folder
        self._env = env
        self._started: list[RunningWorker] = []
        self._in_slot: dict[int, RunningWorker] = {}
        self._supervisors: set[int] = set()
        self._children: dict[int, psutil.Process] = {}
        self._parents: dict[int, int] = {}

    def __iter__(self) -> Iterator[int]:
        return iter(range(4))

    def __getitem__(self, slot: int) -> RunningWorker:
        return self._in_slot[slot]

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "sitecustomize.py").write_text(DIES_DECODING)
        for slot in self:
            self.replace(slot)
        for slot in self:
            self[slot].wait_until_ready(deadline=READY)

    def replace(self, slot: int, make: Make = COMMON) -> RunningWorker:
        """Start another in this slot; returns it, and leaves the one before to the caller."""
        # One arena: glibc reserves 64 MiB for each thread, which a limit of memory would not touch.
        env = {**self._env, **make.env, "SLOT": str(slot), "MALLOC_ARENA_MAX": "1"}
        if make.supervised:
            env["SUPERVISED"] = "yes"
        url = self._site.url(slot)
        options = (*_OPTIONS, "--lease", f"{make.lease}s", *make.options)
        worker = RunningWorker(self._folder, url, HANDLER, options, env=env)
        self._started.append(worker)
        self._in_slot[slot] = worker
        if make.supervised:
            self._supervisors.add(worker.pid)
        if make.plain:
            self.plain.add(worker.pid)
        self.note("up", worker.pid, make.lease)
        return worker

    def note(self, what: str, pid: int, lease: float = LEASE) -> None:
        """That this happens to a process now."""
        self.deeds.append(Deed(time.monotonic(), what, pid, lease))

    def send(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to one process, and note what that does to it."""
        if number == signal.SIGKILL:
            self.killed.add(pid)
            self.deaths[pid] = time.monotonic()
        else:
            self.note(_DOES[number], pid)
        os.kill(pid, number)

    def stop(self, worker: RunningWorker) -> None:
        """SIGTERM."""
        for pid in (worker.pid, *self.children(worker)):
            self.note("draining", pid)
        worker.signal(signal.SIGTERM)

    # --- supervisors --------------------------------------------------------------------------

    @property
    def singles(self) -> list[int]:
        """The slots in which a worker is one process."""
        return [slot for slot in self if self[slot].pid not in self._supervisors]

    def supervise(self, slot: int) -> int:
        """Have a supervisor with all of its processes: in that slot, if there is none yet.

        Returns its slot. It stays for others that need one.
        """
        there = next((each for each in self if each not in self.singles), slot)
        if len(self.children(self[there])) < PROCESSES:
            self.succeed(there, SUPERVISED)
            eventually(lambda: len(self.children(self[there])) == PROCESSES, deadline=READY)
        return there

    def make_in(self, slot: int) -> Make:
        """How the worker in this slot differs from the common ones, as far as it lasts."""
        return COMMON if slot in self.singles else SUPERVISED

    def children(self, worker: RunningWorker) -> list[int]:
        """The processes of a supervisor that live; none of a worker that is one process."""
        self._watch_children()
        return [pid for pid in self._children if self._parents[pid] == worker.pid]

    # --- ends ---------------------------------------------------------------------------------

    def replace_ready(self, slot: int, make: Make = COMMON) -> RunningWorker:
        """As `replace`, once it consumes. A poison order that goes round may end some before."""
        while True:
            worker = self.replace(slot, make)
            try:
                worker.wait_until_ready(deadline=READY)
            except RuntimeError:
                if worker.returncode not in POISONED:
                    raise
            else:
                return worker

    def succeed(self, slot: int, make: Make = COMMON) -> RunningWorker:
        """One of this make takes the place of the one in the slot, which drains; returns it."""
        old = self[slot]
        new = self.replace_ready(slot, make)
        self.retire(old)
        return new

    def kill(self, slot: int) -> RunningWorker:
        """SIGKILL, and another in its place; returns the dead one."""
        dead = self[slot]
        self.killed.add(dead.pid)
        for pid in self.children(dead):
            self.note("draining", pid)
        dead.kill()
        self.deaths[dead.pid] = time.monotonic()
        self.replace(slot)
        return dead

    def retire(self, worker: RunningWorker) -> None:
        """SIGTERM, and the drain must end well."""
        self.stop(worker)
        self.await_drain(worker)

    def await_drain(self, worker: RunningWorker) -> None:
        """Wait for the end of one that was told to stop."""
        code = worker.wait(_DRAINED)
        self.deaths[worker.pid] = time.monotonic()
        # Told to stop before it knew what that means, it has nothing to give back.
        newborn = code == -signal.SIGTERM and not worker.events("redis_connected")
        if newborn or code in POISONED or worker.pid in self.frail:
            self.killed.add(worker.pid)
        elif code != 0:
            self.complaints.append(f"a drain ended with exit {code}: {worker.output[-500:]}")

    def tend(self) -> None:
        """Replace what died by itself, and note which children of supervisors are gone."""
        self._watch_children()
        for slot in self:
            worker = self[slot]
            code = worker.returncode
            if code is None:
                continue
            self.deaths[worker.pid] = time.monotonic()
            self.killed.add(worker.pid)
            if code not in POISONED and worker.pid not in self.frail:
                self.complaints.append(f"a worker ended with {code}: {worker.output[-500:]}")
            self.replace(slot)

    def _watch_children(self) -> None:
        """A supervisor ends its processes, and starts others, by itself."""
        for pid in self._supervisors:
            # Of its main thread, which is the one that starts them; a scan of /proc is slow.
            with suppress(OSError, psutil.Error):
                for told in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                    if int(told) not in self._children and int(told) not in self.deaths:
                        self._children[int(told)] = psutil.Process(int(told))
                        self._parents[int(told)] = pid
                        self.note("up", int(told))
        for pid, child in list(self._children.items()):
            if not _runs(child):
                self.deaths.setdefault(pid, time.monotonic())
                self.killed.add(pid)
                del self._children[pid]

    def leases_lost(self) -> dict[int, list[float]]:
        """When each process said that its lease was lost, in monotonic seconds."""
        lost: dict[int, list[float]] = defaultdict(list)
        for worker in self._started:
            for line, came in zip(list(worker.lines), worker.came, strict=False):
                if line.startswith("{") and (told := json.loads(line))["event"] == "lease_lost":
                    lost[pid_of(told["worker"])].append(came)
        return lost

    @property
    def pids(self) -> set[int]:
        """Of all processes that were ever workers; what handlers fork is none."""
        return {worker.pid for worker in self._started} | set(self._children) | set(self.deaths)

    def close(self) -> None:
        """End all processes, by pid. Idempotent."""
        for worker in self._started:
            worker.close()


_DOES = {
    signal.SIGTERM: "draining",
    signal.SIGSTOP: "stopped",
    signal.SIGCONT: "continued",
}


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pid_of(worker: str) -> int:
    """The process of a worker, by the name that it has in Redis and in its log."""
    return int(worker.split("-")[-2])
