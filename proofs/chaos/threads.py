"""A limit of the threads of one process, for a while: RLIMIT_NPROC, or for root a cgroup."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def no_threads(pid: int) -> Iterator[None]:
    """Within, this process can start no thread and no process. It may end meanwhile."""
    with _in_a_cgroup(pid) if os.geteuid() == 0 else _limited(pid):
        yield


@contextmanager
def _limited(pid: int) -> Iterator[None]:
    """Whoever isn't root has one process already, and as many threads as it wants."""
    before = resource.prlimit(pid, resource.RLIMIT_NPROC)
    resource.prlimit(pid, resource.RLIMIT_NPROC, (1, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NPROC, before)


@contextmanager
def _in_a_cgroup(pid: int) -> Iterator[None]:
    """The limits of users don't apply to root."""
    root, home = _homes(pid)
    group = root / f"chaos-{os.getpid()}-{pid}"
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(pid))
        (group / "pids.max").write_text("1")
    except OSError as error:
        raise RuntimeError(f"root needs a writable cgroup to limit threads: {error}") from None
    try:
        yield
    finally:
        (group / "pids.max").write_text("max")
        for each in (group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                (home / "cgroup.procs").write_text(each)
        with suppress(OSError):  # A process that has just ended may still be in it.
            group.rmdir()


def _homes(pid: int) -> tuple[Path, Path]:
    """Where groups that limit pids can be made, and the group that this process is in."""
    mounts = [line.split()[:4] for line in Path("/proc/mounts").read_text().splitlines()]
    own = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    for _, path, kind, options in mounts:
        if kind == "cgroup" and "pids" in options.split(","):
            return Path(path), Path(path + next(p for _, c, p in own if "pids" in c.split(",")))
    for _, path, kind, _ in mounts:
        if kind == "cgroup2":
            with suppress(OSError):  # Told by pids.max, which isn't there then.
                (Path(path) / "cgroup.subtree_control").write_text("+pids")
            return Path(path), Path(path + next(p for number, _, p in own if number == "0"))
    raise RuntimeError("root needs a cgroup to limit threads, and none is mounted")
