"""A TCP proxy between a worker and its Redis, which breaks the connection in chosen ways."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from queue import SimpleQueue

from tests.support.process import free_port


class Cut(Enum):
    """Where the next exchange is cut off, once."""

    REQUEST = auto()
    REPLY = auto()


@dataclass(eq=False)
class _Pair:
    """Two ends of one connection. exchanging: a script was asked for, and not yet answered."""

    worker: socket.socket
    redis: socket.socket
    exchanging: bool = False

    def close(self) -> None:
        for end in (self.worker, self.redis):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Listens on a loopback port of its own, and passes on to `target`.

    delay: seconds that each reply is held, and all behind it. distance: seconds that bytes are on
    their way, in each direction. drip: bytes go one at a time. rate: bytes a second that all
    connections share, in either direction; 0 for no limit.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.delay = self.distance = 0.0
        self.rate = 0
        self.drip = False
        self._line = threading.Lock()
        self.cut_off = threading.Event()
        self._cut: Cut | None = None
        self._passing = threading.Event()
        self._passing.set()
        self._target = target
        self._pairs: set[_Pair] = set()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, where: Cut) -> None:
        """Cut the next exchange there; `cut_off` is set when it has happened."""
        self.cut_off.clear()
        self._cut = where

    def swallow(self) -> None:
        """Let nothing through, in either direction, and close nothing."""
        self._passing.clear()

    def heal(self) -> None:
        """Behave from now on; what was held goes on its way."""
        self.delay, self.distance, self.rate = 0.0, 0.0, 0
        self.drip, self._cut = False, None
        self._passing.set()

    def hang_up(self) -> None:
        """Close what is open; new connections are taken."""
        for pair in list(self._pairs):
            pair.close()

    def close(self) -> None:
        """Idempotent."""
        self._closed = True
        self.heal()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def _accept(self) -> None:
        while not self._closed:
            try:
                worker, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(worker,), daemon=True).start()

    def _join(self, worker: socket.socket) -> None:
        self._passing.wait()
        try:
            self._travel(time.monotonic())
            redis = socket.create_connection(("127.0.0.1", self._target), timeout=2)
        except OSError:
            worker.close()
            return
        redis.settimeout(None)
        for end in (worker, redis):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair(worker, redis)
        self._pairs.add(pair)
        back = threading.Thread(target=self._pump, args=(pair, False), daemon=True)
        back.start()
        self._pump(pair, True)
        back.join()
        self._pairs.discard(pair)
        worker.close()
        redis.close()

    def _pump(self, pair: _Pair, forth: bool) -> None:
        """Two threads: what is on a long way must not keep the next from setting out."""
        source = pair.worker if forth else pair.redis
        under_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
        arriving = threading.Thread(target=self._arrive, args=(pair, forth, under_way), daemon=True)
        arriving.start()
        data = b"something"
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            under_way.put((time.monotonic(), data))
        arriving.join()

    def _arrive(
        self, pair: _Pair, forth: bool, under_way: SimpleQueue[tuple[float, bytes]]
    ) -> None:
        sink = pair.redis if forth else pair.worker
        with suppress(OSError):
            while True:
                sent, data = under_way.get()
                self._travel(sent)
                if not data or not self._pass_on(pair, sink, data, forth):
                    break
        pair.close()

    def _travel(self, sent: float) -> None:
        """Return when what was sent then has come so far; at once if the way has become short."""
        while (rest := sent + self.distance - time.monotonic()) > 0:
            time.sleep(min(rest, 0.05))

    def _pass_on(self, pair: _Pair, sink: socket.socket, data: bytes, forth: bool) -> bool:
        """Whether the connection goes on."""
        if forth and b"FCALL" in data:
            pair.exchanging = True
        if pair.exchanging and self._takes(Cut.REQUEST if forth else Cut.REPLY):
            sink.sendall(data[: len(data) // 2])
            pair.close()
            self.cut_off.set()
            return False
        self._passing.wait()
        if not forth:
            pair.exchanging = False
            time.sleep(self.delay)
        self._send(sink, data)
        return True

    def _takes(self, where: Cut) -> bool:
        if self._cut is not where:
            return False
        self._cut = None
        return True

    def _send(self, sink: socket.socket, data: bytes) -> None:
        sent = 0
        while self.drip and sent < len(data):
            sink.sendall(data[sent : sent + 1])
            sent += 1
        while self.rate and sent < len(data):
            part = data[sent : sent + max(1, self.rate // 50)]
            with self._line:
                sink.sendall(part)
                time.sleep(len(part) / (self.rate or len(part)))
            sent += len(part)
        sink.sendall(data[sent:])
