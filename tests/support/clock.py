"""A wall clock that can be set while a process runs: Debian's libfaketime, told by a file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest


class Clock:
    """What a process started with `env` believes the time to be. CLOCK_MONOTONIC stays true.

    steps: when it was set, in monotonic seconds, and how far from the true time.
    """

    def __init__(self, path: Path) -> None:
        self.steps: list[tuple[float, int]] = []
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
        self.steps.append((time.monotonic(), seconds))
        new = self._path.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.replace(self._path)  # At once: it is read again and again.

    def at(self, wall: float, seen: float, slack: float) -> float:
        """The monotonic time at which it showed `wall`, as somebody saw not long before `seen`.

        With each of its offsets that is another time. Of those at which it had the offset, the last
        one before `seen` is meant. slack: seconds by which clocks and steps may be out.
        """
        true = wall - (time.time() - time.monotonic())
        ends = [began for began, _ in self.steps[1:]] + [float("inf")]
        times = [
            true - offset
            for (began, offset), end in zip(self.steps, ends, strict=True)
            if began - slack <= true - offset <= end + slack
        ]
        return max((each for each in times if each <= seen + slack), default=true)


def _library() -> Path:
    found = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if found is None:
        pytest.fail("libfaketime is missing; run: sudo apt-get install -y faketime")
    return found
