"""What the tests with real processes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.calls import Calls
from tests.support.clock import Clock
from tests.support.redis_server import RedisServer


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    """A log for handlers to write to."""
    return Calls(tmp_path / "calls")


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """What `clocked` shows."""
    return Clock(tmp_path / "clock" / "clock")


@pytest.fixture
def clocked(tmp_path: Path, clock: Clock) -> Iterator[RedisServer]:
    """A server whose clock can be stepped."""
    server = RedisServer(tmp_path, "valkey-9")  # Debian's Redis and libfaketime lock each other up
    server.env = clock.env
    server.start()
    yield server
    server.close()
