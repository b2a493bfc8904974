"""scripts/throttled: what can't be throttled is said in one line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "throttled"


@pytest.mark.parametrize(
    ("share", "command", "told"),
    [
        ("0.25", [], "no command was given; usage: scripts/throttled COMMAND..."),
        ("7", ["true"], "SHARE is '7'; it must be more than 0, and at most 1"),
        ("some", ["true"], "SHARE is 'some'; it must be more than 0, and at most 1"),
    ],
)
def test_throttled_refuses_what_makes_no_sense(share: str, command: list[str], told: str) -> None:
    done = subprocess.run(
        [SCRIPT, *command],
        env=os.environ | {"SHARE": share},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"scripts/throttled: {told}\n"
