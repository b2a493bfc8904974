"""The real server of a world. It is asked one command at a time, in the order of virtual time.

Its own clock is replaced where our functions ask for it: a key's expiry time is the world's time.
Its own time-outs are replaced too: a command that blocks is let go by the world, when its time is
up.
"""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self
from unittest import mock

import hiredis

from fulfillment_worker.queue import library
from tests.support.redis_server import RedisServer

CLOCK = b"simulation:clock"
_TIME = "call('TIME')"
_WORLDS_TIME = (
    "(function() local ms = redis.call('PEXPIRETIME', 'simulation:clock') "
    "return {math.floor(ms / 1000), ms % 1000 * 1000} end)()"
)
_OPTIONS = {
    "enable-debug-command": "yes",
    "enable-protected-configs": "yes",
    # What has no order of its own is read in the order in which it was written.
    "hash-max-listpack-entries": "1000000",
    "hash-max-listpack-value": "10000000",
    "zset-max-listpack-entries": "1000000",
    "zset-max-listpack-value": "10000000",
    "proto-max-bulk-len": "512mb",
}
_NOTHING_YET = object()
_LOOK = Path(__file__).with_name("look.lua").read_text()


def functions_ask_the_world() -> AbstractContextManager[object]:
    """Within it, our functions go by the world's clock."""

    def edited(text: str) -> str:
        assert text.count(_TIME) > 0
        return text.replace(_TIME, _WORLDS_TIME)

    return mock.patch.object(library, "LIBRARY", library.assemble(edited))


class Replies:
    """Tells replies apart in what a server says."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(notEnoughData=_NOTHING_YET)

    def read(self, data: bytes) -> list[Any]:
        """The replies that are complete now, without what the server says by itself."""
        self._reader.feed(data)
        replies = []
        while (reply := self._reader.gets()) is not _NOTHING_YET:
            # The answer to a subscription is a push message, too.
            if not isinstance(reply, hiredis.PushNotification) or reply[0] == b"subscribe":
                replies.append(reply)
        return replies


class Talk:
    """A connection on which commands are answered at once."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._replies = Replies()

    def ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Send all; returns the replies."""
        self._socket.sendall(b"".join(hiredis.pack_command(each) for each in commands))
        replies: list[Any] = []
        while len(replies) < len(commands):
            replies += self._replies.read(self._socket.recv(1 << 20))
        return replies

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class Server:
    """A Valkey with nothing in it at the beginning of each world."""

    def __init__(self, folder: Path) -> None:
        options = [part for key, value in _OPTIONS.items() for part in (f"--{key}", value)]
        self._real = RedisServer(folder, "valkey-9", *options)

    def __enter__(self) -> Self:
        self._real.start()
        self.control = Talk(self._real.socket)
        return self

    def __exit__(self, *_: object) -> None:
        self.control.close()
        self._real.close()

    def begin(self, ms: int) -> None:
        """Forget everything. ms: what the clock shows."""
        self.control.ask(
            ("REPLICAOF", "NO", "ONE"),
            ("CONFIG", "SET", "maxmemory", "0"),
            ("FLUSHALL",),
            ("FUNCTION", "FLUSH"),
            ("SET", CLOCK, "", "PXAT", ms),
        )

    def look(self, queue: str, last_event: str, last_letter: int) -> list[Any]:
        """What there is in a queue; see look.lua."""
        (found,) = self.control.ask(("EVAL", _LOOK, 0, queue, last_event, last_letter))
        if isinstance(found, Exception):
            raise found
        return list(found)

    def connect(self) -> tuple[socket.socket, int]:
        """A new connection, and its id."""
        real = socket.socket(socket.AF_UNIX)
        real.connect(str(self._real.socket))
        real.sendall(b"CLIENT ID\r\n")
        number = int(real.recv(64)[1:])
        real.setblocking(False)
        return real, number

    def save(self, name: str) -> None:
        """Keep the data as it is now."""
        self.control.ask(("CONFIG", "SET", "dbfilename", f"{name}.rdb"), ("SAVE",))

    def come_back(self, name: str) -> None:
        """As another server, with the data that was kept under this name."""
        replies = self.control.ask(
            ("CONFIG", "SET", "dbfilename", f"{name}.rdb"),
            ("DEBUG", "RELOAD", "NOSAVE"),
            ("DEBUG", "CHANGE-REPL-ID"),
        )
        failed = [each for each in replies if isinstance(each, Exception)]
        assert not failed, failed
