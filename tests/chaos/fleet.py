"""The workers: one in each slot, replaced when it dies, and ended for certain."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.clock import Clock
from tests.chaos.record import DIES_DECODING, HANDLER
from tests.chaos.sites import Site
from tests.support.worker import RunningWorker

LEASE = 1.0
MAX_ORPHANINGS = 5
POISONED = (9, -signal.SIGSEGV)
"""The exit codes with which poison orders end their worker."""
_OPTIONS = (
    *("--concurrency", "8", "--lease", f"{LEASE}s", "--order-timeout", "1s"),
    *("--retry-base", "200ms", "--retry-cap", "1s", "--max-orphanings", str(MAX_ORPHANINGS)),
    *("--max-attempts", "10", "--shutdown-grace", "3s", "--log-format", "json"),
)


class Fleet:
    """Four workers of one queue.

    deaths: when each process that is gone was seen to be, in monotonic seconds.
    killed: the processes that were given no time to end. frail: those that may end by themselves.
    complaints: exits that nobody asked for.
    """

    def __init__(self, folder: Path, site: Site, env: dict[str, str]) -> None:
        self.frail: set[int] = set()
        self.deaths: dict[int, float] = {}
        self.killed: set[int] = set()
        self.slot_of: dict[int, int] = {}
        self.complaints: list[str] = []
        self._site = site
        self._folder = folder
        self._env = env
        self._started: list[RunningWorker] = []
        self._in_slot: dict[int, RunningWorker] = {}

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
            self[slot].wait_until_ready()

    def replace(self, slot: int, clock: Clock | None = None) -> RunningWorker:
        """Start another in this slot; returns it, and leaves the one before to the caller.

        clock: its own, which can be set.
        """
        url = self._site.url(slot)
        env = self._env | (clock.env if clock else {})
        worker = RunningWorker(self._folder, url, HANDLER, _OPTIONS, env=env)
        self._started.append(worker)
        self._in_slot[slot] = worker
        self.slot_of[worker.pid] = slot
        return worker

    def replace_ready(self, slot: int, clock: Clock | None = None) -> RunningWorker:
        """As `replace`, once it consumes. A poison order that goes round may end some before."""
        while True:
            worker = self.replace(slot, clock)
            try:
                worker.wait_until_ready()
            except RuntimeError:
                if worker.returncode not in POISONED:
                    raise
            else:
                return worker

    def kill(self, slot: int) -> RunningWorker:
        """SIGKILL, and another in its place; returns the dead one."""
        dead = self[slot]
        self.killed.add(dead.pid)
        dead.kill()
        self.deaths[dead.pid] = time.monotonic()
        self.replace(slot)
        return dead

    def retire(self, worker: RunningWorker) -> None:
        """SIGTERM, and the drain must end well."""
        worker.signal(signal.SIGTERM)
        self.await_drain(worker)

    def await_drain(self, worker: RunningWorker) -> None:
        """Wait for the end of one that was told to stop."""
        code = worker.wait(15)
        self.deaths[worker.pid] = time.monotonic()
        # Told to stop before it knew what that means, it has nothing to give back.
        newborn = code == -signal.SIGTERM and not worker.events("redis_connected")
        if newborn or code in POISONED or worker.pid in self.frail:
            self.killed.add(worker.pid)
        elif code != 0:
            self.complaints.append(f"a drain ended with exit {code}: {worker.output[-500:]}")

    def tend(self) -> None:
        """Replace what died by itself."""
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

    def leases_lost(self) -> dict[int, list[float]]:
        """When each process said that its lease was lost, in monotonic seconds."""
        return {worker.pid: worker.told("lease_lost") for worker in self._started}

    def close(self) -> None:
        """End all processes, by pid. Idempotent."""
        for worker in self._started:
            worker.close()
