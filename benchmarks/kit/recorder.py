"""Records what a worker says to Redis, and says it again as fast as Redis can listen."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks.kit.ground import Ground
from benchmarks.kit.machine import REDIS_CORE, WORKER_CORE, on_core

_CHUNK = 1 << 20
_NOT_REPLAYED = {b"BLMOVE", b"HELLO", b"CLIENT", b"INFO", b"SUBSCRIBE"}
"""A wait for orders would stop the replay, and the rest is only said at the start."""


class Recorder:
    """A way to Redis that remembers all commands of all its connections, in their order."""

    def __init__(self, port: int) -> None:
        """port: Redis's, on loopback."""
        self._to = port
        self._unfinished: dict[socket.socket, bytes] = {}
        self._other_end: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._door = socket.create_server(("127.0.0.1", 0))
        self._selector.register(self._door, selectors.EVENT_READ)
        self._ended = False
        self.commands: list[bytes] = []

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._door.getsockname()[1]}/0"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Pass on what comes, in a thread on Redis's core, until the end of the block."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended = True
            thread.join(5)
            for end in [self._door, *self._other_end]:
                end.close()

    def _run(self) -> None:
        with on_core(REDIS_CORE):
            while not self._ended:
                for key, _ in self._selector.select(0.05):
                    assert isinstance(key.fileobj, socket.socket)
                    self._serve(key.fileobj)

    def _serve(self, end: socket.socket) -> None:
        if end is self._door:
            self._connect(end.accept()[0])
            return
        try:
            data = end.recv(_CHUNK)
            self._other_end[end].sendall(data)
        except OSError:  # killed: a worker is ended that way
            data = b""
        if not data:
            self._selector.unregister(end)
            return
        if end in self._unfinished:
            found, self._unfinished[end] = split_commands(self._unfinished[end] + data)
            self.commands.extend(found)

    def _connect(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._to))
        self._other_end |= {client: server, server: client}
        self._unfinished[client] = b""
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(end, selectors.EVENT_READ)


def split_commands(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole commands at the start of the data (arrays of bulk strings), and the rest."""
    found, start = [], 0
    while (end := _end_of_command(data, start)) is not None:
        found.append(data[start:end])
        start = end
    return found, data[start:]


def _end_of_command(data: bytes, at: int) -> int | None:
    line = data.find(b"\r\n", at)
    if line < 0:
        return None
    parts, at = int(data[at + 1 : line]), line + 2
    for _ in range(parts):
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        at = line + 2 + int(data[at + 1 : line]) + 2
    return at if at <= len(data) else None


def name_of(command: bytes) -> bytes:
    """Its first word, in capitals."""
    return command.split(b"\r\n", 3)[2].upper()


class Replayed(NamedTuple):
    """seconds: from the first byte sent to the last reply. redis_cpu: seconds of it."""

    seconds: float
    redis_cpu: float


def replay(ground: Ground, commands: list[bytes]) -> Replayed:
    """Send the commands without waiting for replies. What they depend on must be as it was."""
    kept = [command for command in commands if name_of(command) not in _NOT_REPLAYED]
    told = b"".join([*kept, b"*1\r\n$4\r\nPING\r\n"])
    with on_core(WORKER_CORE), socket.create_connection(("127.0.0.1", ground.server.port)) as line:
        cpu, started = ground.redis_cpu(), time.monotonic()
        sender = threading.Thread(target=line.sendall, args=(told,))
        sender.start()
        _read_until_pong(line)
        sender.join()
        return Replayed(time.monotonic() - started, ground.redis_cpu() - cpu)


def _read_until_pong(line: socket.socket) -> None:
    end = b""
    while not end.endswith(b"+PONG\r\n"):
        data = line.recv(_CHUNK)
        if not data:
            raise RuntimeError("Redis ended the replay")
        end = (end + data)[-7:]
