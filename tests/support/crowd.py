"""A crowd of hostile clients of one port on loopback: `python -m tests.support.crowd PORT MANY`.

All of them connect at once. A fifth each drips its request byte by byte, sends half of one, sends
headers without an end, pipelines requests and never reads, or says nothing at all. Whoever is cut
off comes again a second later. It ends by itself when nobody listens any more.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

_ASK = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
_FIRST = (_ASK + b"X-Slow: ", _ASK[:9], _ASK, (_ASK + b"\r\n") * 200, b"")
_THEN = (b"a", b"", b"X-Huge: " + b"a" * 1000 + b"\r\n", b"", b"")
_AGAIN = 1.0
"""Seconds between two words of one client, and until it comes again."""
_TICK = 0.05


@dataclass(eq=False)
class _Client:
    """manner: which fifth it belongs to. due: when it has something to do again."""

    manner: int
    due: float
    sock: socket.socket | None = None
    said: bool = False

    def act(self, port: int) -> None:
        """Connect, or say the next word. OSError where it is cut off, or not let in."""
        if self.sock is None:
            self.sock = socket.socket()
            self.sock.setblocking(False)
            with suppress(BlockingIOError):
                self.sock.connect(("127.0.0.1", port))
            return
        words = _THEN if self.said else _FIRST
        self.said = True
        with suppress(BlockingIOError):
            self.sock.send(words[self.manner])

    def leave(self) -> None:
        """Hang up; it comes again."""
        if self.sock is not None:
            self.sock.close()
        self.sock, self.said = None, False


class Crowd:
    """`run` goes on until nobody listens."""

    def __init__(self, port: int, many: int) -> None:
        self._port = port
        self._clients = [_Client(number % 5, 0.0) for number in range(many)]
        self._by_number: dict[int, _Client] = {}
        self._watch = select.epoll()

    def run(self) -> None:
        """Attack."""
        told = False
        while self._somebody_listens():
            ends = time.monotonic() + 1
            while time.monotonic() < ends:
                self._turn()
            if not told:
                print("the crowd is there", flush=True)
                told = True

    def _somebody_listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(5)
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _turn(self) -> None:
        now = time.monotonic()
        for client in self._clients:
            if client.due <= now:
                client.due = now + _AGAIN
                self._act(client)
        for number, _ in self._watch.poll(_TICK):
            self._hear(self._by_number[number])

    def _act(self, client: _Client) -> None:
        fresh = client.sock is None
        try:
            client.act(self._port)
        except OSError:
            self._leave(client)
            return
        if fresh and client.sock is not None:
            # Those that never read wait for nothing but the end of the connection.
            reads = 0 if client.manner == 3 else select.EPOLLIN
            self._watch.register(client.sock, reads | select.EPOLLRDHUP)
            self._by_number[client.sock.fileno()] = client
            client.due = 0.0

    def _hear(self, client: _Client) -> None:
        assert client.sock is not None
        try:
            if client.manner != 3 and client.sock.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._leave(client)

    def _leave(self, client: _Client) -> None:
        if client.sock is not None:
            self._by_number.pop(client.sock.fileno(), None)
        client.leave()
        client.due = time.monotonic() + _AGAIN


if __name__ == "__main__":
    Crowd(int(sys.argv[1]), int(sys.argv[2])).run()
