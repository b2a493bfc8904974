"""What the tests with real processes share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.calls import Calls


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    """A log for handlers to write to."""
    return Calls(tmp_path / "calls")
