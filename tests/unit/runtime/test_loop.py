"""The event loop's own way of waiting."""

from __future__ import annotations

import asyncio
import os
import selectors
import time

import pytest

from fulfillment_worker.runtime import precise_selector as module
from fulfillment_worker.runtime.loop import run_loop
from fulfillment_worker.runtime.precise_selector import PreciseSelector


@pytest.fixture(params=["by select", "by epoll alone"])
def selector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PreciseSelector:
    """As usual, and as in a process that had thousands of files open before."""
    if request.param == "by epoll alone":
        monkeypatch.setattr(module, "_MOST_OF_SELECT", 0)
    return PreciseSelector()


def test_it_waits_as_long_as_it_was_told(selector: PreciseSelector) -> None:
    for timeout in (0.0005, 0.0205):
        began = time.monotonic()
        assert selector.select(timeout) == []
        assert time.monotonic() - began >= timeout
    assert selector.select(0) == []
    assert selector.select(-1) == []


@pytest.mark.parametrize("timeout", [None, 60, 0, -1])
def test_it_tells_what_is_there_at_once(selector: PreciseSelector, timeout: float | None) -> None:
    reader, writer = os.pipe()
    key = selector.register(reader, selectors.EVENT_READ)
    os.write(writer, b"x")
    assert selector.select(timeout) == [(key, selectors.EVENT_READ)]
    os.close(reader)
    os.close(writer)


def test_the_worker_runs_on_it() -> None:
    async def main() -> int:
        assert isinstance(asyncio.get_running_loop()._selector, PreciseSelector)  # type: ignore[attr-defined]
        return 3

    assert run_loop(main()) == (3, False)
