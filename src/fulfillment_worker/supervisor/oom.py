"""Whether the kernel has killed a process for want of memory."""

from __future__ import annotations

from pathlib import Path


class OomKills:
    """Counts those of this process's control group. root: of the file system."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._known = self._count()

    def took(self) -> bool:
        """Whether there was one more than was asked for so far; call it for each killed process."""
        more = self._count() > self._known
        self._known += more
        return more

    def _count(self) -> int:
        for file in self._files():
            try:
                lines = [line.split() for line in file.read_text().splitlines()]
                return next(int(words[1]) for words in lines if words[0] == "oom_kill")
            except (OSError, ValueError, IndexError, StopIteration):
                continue
        return 0

    def _files(self) -> list[Path]:
        """Where the count may be: version 2, then 1; in a container, both below its own root."""
        groups = self._root / "sys/fs/cgroup"
        files = []
        for line in _lines(self._root / "proc/self/cgroup"):
            _, kinds, path = (*line.split(":", 2), "", "")[:3]
            if not kinds:
                files += [groups / path.lstrip("/") / "memory.events", groups / "memory.events"]
            elif "memory" in kinds.split(","):
                of = groups / "memory"
                files += [of / path.lstrip("/") / "memory.oom_control", of / "memory.oom_control"]
        return files


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
