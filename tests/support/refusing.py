"""A server that takes nobody: it says why, and hangs up."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from threading import Thread
from typing import NamedTuple

DENIED = b"-DENIED Redis is running in protected mode because protected mode is enabled\r\n"
FULL = b"-ERR max number of clients reached\r\n"

End = Callable[[socket.socket], None]


class Refusing(NamedTuple):
    """port: where it listens. refused: one entry for each connection that it has ended."""

    port: int
    refused: list[None]


def reset(peer: socket.socket) -> None:
    """End it by RST, whatever was sent and not read."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close(peer: socket.socket) -> None:
    """End it by FIN, once all was read."""
    peer.recv(65536)


@contextlib.contextmanager
def refusing(words: bytes, end: End) -> Iterator[Refusing]:
    """A server that says so to everybody who says something, and ends the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Refusing(server.getsockname()[1], [])

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer, contextlib.suppress(OSError):
                    peer.recv(1, socket.MSG_PEEK)
                    peer.sendall(words)
                    end(peer)
                found.refused.append(None)

        thread = Thread(target=serve)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
