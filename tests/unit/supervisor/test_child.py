"""A child's side: what it makes of what it is told, and what it reports."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from fulfillment_worker.core.events import QueueLost, SpansExported
from fulfillment_worker.observability.health import Health
from fulfillment_worker.supervisor.commands import Commands
from fulfillment_worker.supervisor.messages import ChildsEnd, Look, Report, Stop, framed, receive
from fulfillment_worker.supervisor.reporter import Reporter
from tests.support.eventually import aeventually
from tests.unit.observability.support import attempt, new_metrics

_DONE = ("orders_processed_total", (("status", "success"),))


@pytest.fixture
def ends_in(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """In how many seconds the process would end for certain."""
    asked: list[float] = []
    monkeypatch.setattr("fulfillment_worker.supervisor.commands.end_in", asked.append)
    return asked


@pytest.fixture
def ends(ends_in: list[float]) -> Iterator[tuple[socket.socket, ChildsEnd]]:
    """The supervisor's end of a line, and the child's."""
    ours, theirs = socket.socketpair()
    line = ChildsEnd(theirs)
    yield ours, line
    ours.close()
    for thread in threading.enumerate():
        if thread.name == "commands":
            thread.join(5)
    line.close()


async def test_a_look_is_not_a_stop(ends: tuple[socket.socket, ChildsEnd]) -> None:
    ours, line = ends
    looked = asyncio.Event()
    commands = Commands(line, 25.0)
    commands.listen(looked.set)
    ours.sendall(framed(Look()))
    await asyncio.wait_for(looked.wait(), 5)
    assert not commands.asked.is_set()
    ours.sendall(framed(Stop()))
    await asyncio.wait_for(commands.asked.wait(), 5)
    assert not commands.demanded.is_set()


async def test_without_a_supervisor_it_drains(
    ends: tuple[socket.socket, ChildsEnd], ends_in: list[float]
) -> None:
    """And ends for certain: nobody is left to look after it."""
    ours, line = ends
    commands = Commands(line, 25.0)
    commands.listen(lambda: None)
    ours.close()
    await asyncio.wait_for(commands.asked.wait(), 5)
    await aeventually(lambda: ends_in == [35.0])


async def test_it_reports_at_the_start_when_something_is_lost_and_at_the_end() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    line = ChildsEnd(theirs)
    metrics, health = new_metrics(), Health(stuck_after=5)
    reporter = Reporter(line)
    reporter.start(metrics, health, lambda: {"orders": "host-1"})
    first = await asyncio.wait_for(receive(reader), 5)
    assert isinstance(first, Report)
    assert first.names == {"orders": "host-1"}
    assert first.ready == (False, "starting")
    health.consuming()
    health.unready("orders", "no Redis")
    reporter.observe(QueueLost("orders", "no Redis"))
    second = await asyncio.wait_for(receive(reader), 0.9)  # the next one is due after a second
    assert isinstance(second, Report)
    assert second.ready == (False, "queue orders: no Redis")
    reporter.observe(SpansExported(1, 1, 0))  # of no interest to the probes
    metrics.observe(attempt())
    reporter.finish()
    line.close()
    last = None
    while report := await receive(reader):
        last = report
    assert isinstance(last, Report)
    assert last.snapshot.series("orders_processed")[_DONE] == 1
    writer.close()
