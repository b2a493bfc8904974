"""What a supervisor and its children say to each other, and how it is put on the line."""

from __future__ import annotations

import asyncio
import socket
import threading

import msgspec

from fulfillment_worker.supervisor.snapshot import Snapshot
from fulfillment_worker.system import forks

_HEADER = 4  # bytes that tell the length of what follows


class Hello(msgspec.Struct, frozen=True, tag=True):
    """The first word of the supervisor. settings: pickled; they never leave the machine."""

    seat: str
    settings: bytes


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The handler is loaded; the child waits for its start."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The handler can't be loaded. why: one line for people."""

    why: str


class Start(msgspec.Struct, frozen=True, tag=True):
    """Consume. redis_url: pickled."""

    redis_url: bytes


class Look(msgspec.Struct, frozen=True, tag=True):
    """Orders were put back: ask the queues now."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Drain, and end."""


class Abort(msgspec.Struct, frozen=True, tag=True):
    """Cut short what runs, and end."""


class Report(msgspec.Struct, frozen=True, tag=True):
    """How a child stands.

    at: when it was made, in seconds of CLOCK_MONOTONIC, which all processes of a machine share.
    turned: when its loop last did, by the same clock; None before its first turn, and once it has
    ended.
    names: for each queue, under which it holds orders. live, ready: as its probes would answer.
    """

    at: float
    turned: float | None
    names: dict[str, str]
    live: tuple[bool, str]
    ready: tuple[bool, str]
    snapshot: Snapshot


ToChild = Hello | Start | Look | Stop | Abort
ToSupervisor = Loaded | Refused | Report

_encode = msgspec.msgpack.Encoder().encode
_to_child: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild)
_to_supervisor: msgspec.msgpack.Decoder[ToSupervisor] = msgspec.msgpack.Decoder(ToSupervisor)


def framed(message: ToChild | ToSupervisor) -> bytes:
    """The message, preceded by its length."""
    body = _encode(message)
    return len(body).to_bytes(_HEADER, "big") + body


class ChildsEnd:
    """The child's end of the line; it blocks. Any thread may send, one may receive."""

    def __init__(self, sock: socket.socket) -> None:
        forks.keep(sock)
        self._file = sock.makefile("rb")
        self._sock = sock
        self._lock = threading.Lock()

    def send(self, message: ToSupervisor) -> bool:
        """Whether there was anybody to hear it."""
        try:
            with self._lock:
                self._sock.sendall(framed(message))
        except OSError:
            return False
        return True

    def receive(self) -> ToChild | None:
        """Wait for the next message; None where the supervisor is gone."""
        try:
            header = self._file.read(_HEADER)
            body = self._file.read(int.from_bytes(header, "big"))
            return _to_child.decode(body)
        except (OSError, msgspec.MsgspecError):
            return None

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._sock.close()


async def receive(reader: asyncio.StreamReader) -> ToSupervisor | None:
    """The next message of a child; None where it said its last."""
    try:
        header = await reader.readexactly(_HEADER)
        body = await reader.readexactly(int.from_bytes(header, "big"))
        return _to_supervisor.decode(body)
    except (OSError, asyncio.IncompleteReadError, msgspec.MsgspecError):
        return None
