"""A wall clock that can be set while a process runs: Debian's libfaketime, told by a file."""

from __future__ import annotations

from pathlib import Path

import pytest


class Clock:
    """What a process started with `env` believes the time to be. CLOCK_MONOTONIC stays true."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.step(0)
        self.env = {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
        }

    def step(self, seconds: int) -> None:
        """Be so far from the true time from now on."""
        new = self._path.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.replace(self._path)  # At once: it is read again and again.


def _library() -> Path:
    found = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if found is None:
        pytest.fail("libfaketime is missing; run: sudo apt-get install -y faketime")
    return found
