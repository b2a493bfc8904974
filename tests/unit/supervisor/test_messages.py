"""The line between a supervisor and a child."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from fulfillment_worker.supervisor.messages import (
    Abort,
    ChildsEnd,
    Hello,
    Loaded,
    Look,
    Refused,
    Start,
    Stop,
    ToChild,
    ToSupervisor,
    framed,
    receive,
)
from tests.unit.supervisor.support import having_run, report


@pytest.mark.parametrize(
    "message", [Hello("0", b"\x00\xff"), Start(b"x" * 70_000), Look(), Stop(), Abort()]
)
def test_a_child_hears_what_was_said(message: ToChild) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = ChildsEnd(theirs)
        sender = threading.Thread(target=ours.sendall, args=(framed(message) * 2,))
        sender.start()
        assert line.receive() == message
        assert line.receive() == message
        sender.join()


async def test_a_supervisor_hears_what_was_said_until_the_end() -> None:
    said: list[ToSupervisor] = [Loaded(), Refused("no"), report(snapshot=having_run(2))]
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    line = ChildsEnd(theirs)
    for message in said:
        assert await asyncio.to_thread(line.send, message)
        assert await receive(reader) == message
    line.close()
    assert await receive(reader) is None
    writer.close()


def test_a_child_notices_that_its_supervisor_is_gone() -> None:
    ours, theirs = socket.socketpair()
    line = ChildsEnd(theirs)
    ours.sendall(framed(Stop())[:3])
    ours.close()
    assert line.receive() is None
    assert not line.send(Loaded())
    line.close()
