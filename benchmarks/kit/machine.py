"""The machine: which core runs what, and what a process has used of it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.redis_server import binary_of

_PAGE = os.sysconf("SC_PAGESIZE")
CORES = tuple(sorted(os.sched_getaffinity(0)))
WORKER_CORE, REDIS_CORE = CORES[0], CORES[-1]
"""The worker has one core and Redis another, so that neither can take the other's time."""


@contextmanager
def on_core(*cores: int) -> Iterator[None]:
    """What is started within is bound to these cores, with all that it starts in turn."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """CPU time of the process and its children that are alive, user and system."""
    return sum(_cpu_clock(each) for each in _tree(pid))


def resident(pid: int) -> int:
    """Bytes of memory that the process and its children hold now (RSS)."""
    return sum(_resident(each) for each in _tree(pid))


def described() -> dict[str, object]:
    """What the figures depend on, for the record."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cores": len(CORES),
        "cpu": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "server": server_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def server_version() -> str:
    """What the orders are in, and its version: Redis 7.0.15."""
    told = subprocess.run(
        [binary_of("redis-7"), "--version"], check=True, capture_output=True, text=True
    ).stdout
    found = re.match(r"(\w+) server v=(\S+)", told)
    return f"{found[1]} {found[2]}" if found else told.strip()


def _tree(pid: int) -> list[int]:
    # Of the main thread only, which is the one that forks; a scan of all processes would cost more
    # than what is measured.
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *[each for child in children for each in _tree(int(child))]]


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def _cpu_clock(pid: int) -> float:
    # The kernel's id of the CPU clock of another process: clock_getcpuclockid(3), in nanoseconds,
    # where /proc tells hundredths of a second.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())
