"""Redis far away: each kind of address, with a link of some latency before every server."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import certify, make_authority, server_options
from tests.support.eventually import eventually
from tests.support.process import RunningProcess, free_port
from tests.support.redis_server import RedisServer, binary_of

SERVICE = "shop"


class FarLink:
    """Passes bytes on after a delay, in each direction; a connection takes a round trip itself.

    port, path: where it listens, by TCP or as a unix socket.
    """

    def __init__(self, target: int, delay: float, path: Path | None = None) -> None:
        """target: a port of this machine. delay: seconds for one direction."""
        self.delay = delay
        self._target = target
        self._ends: list[socket.socket] = []
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.port = int(self._listener.getsockname()[1])
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Close all connections; new ones are accepted."""
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Idempotent."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                thread = threading.Thread(target=self._join, args=(near,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        self._ends += [near, far]
        for end in (near, far):
            if end.family != socket.AF_UNIX:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Loopback connects at once, where a real network takes a round trip.
        forth = _Direction(near, far, self.delay, time.monotonic() + 3 * self.delay)
        back = _Direction(far, near, self.delay, 0.0)
        for direction in (forth, back):
            direction.join()
        near.close()
        far.close()


class _Direction:
    """One way of one connection. earliest: when the first byte arrives at the earliest."""

    def __init__(
        self, source: socket.socket, sink: socket.socket, delay: float, earliest: float
    ) -> None:
        self._source, self._sink = source, sink
        self._delay, self._earliest = delay, earliest
        self._under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        ways = (self._take, self._deliver)
        self._threads = [threading.Thread(target=way, daemon=True) for way in ways]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until the connection has ended."""
        for thread in self._threads:
            thread.join()

    def _take(self) -> None:
        data = b"-"
        while data:
            try:
                data = self._source.recv(1 << 16)
            except OSError:
                data = b""
            due = max(self._earliest, time.monotonic() + self._delay)
            self._under_way.put((due, data))

    def _deliver(self) -> None:
        data = b"-"
        while data:
            due, data = self._under_way.get()
            time.sleep(max(0.0, due - time.monotonic()))
            with suppress(OSError):
                self._sink.sendall(data)
        for end in (self._source, self._sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Far:
    """url: how to reach it over the links. server: the one that has the queue, close by."""

    url: str
    server: RedisServer
    links: tuple[FarLink, ...]

    def cut(self) -> None:
        """Cut off all connections."""
        for link in self.links:
            link.cut()


class _Builder:
    """Starts what one address needs, and ends it with the stack."""

    def __init__(self, folder: Path, delay: float, stack: ExitStack) -> None:
        self.folder, self._delay, self._stack = folder, delay, stack
        self._links: list[FarLink] = []
        self.trust = f"?ssl_ca_certs={folder / 'ca.crt'}"
        make_authority(folder, "ca")
        certify(folder, "server", "ca")

    def link(self, port: int, path: Path | None = None) -> FarLink:
        link = FarLink(port, self._delay, path)
        self._stack.callback(link.close)
        self._links.append(link)
        return link

    def server(self, *options: str) -> RedisServer:
        server = RedisServer(self.folder, "redis-7", *options)
        self._stack.callback(server.close)
        return server.start()

    def sentinel(self, primary: int, *, tls: bool) -> int:
        """The port of a sentinel that names this port; it is never in a hurry to depose it."""
        port = free_port()
        config = self.folder / f"sentinel-{port}.conf"
        lines = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 1",
            f"sentinel down-after-milliseconds {SERVICE} 600000",
        ]
        options = ["--port", str(port)]
        if tls:
            options = ["--port", "0", "--tls-replication", "yes"]
            options += server_options(self.folder, port)
        config.write_text("\n".join(lines) + "\n")
        command = [binary_of("redis-7"), str(config), "--sentinel", "--dir", str(self.folder)]
        process = RunningProcess([*command, "--bind", "127.0.0.1", *options])
        self._stack.callback(process.close)
        process.wait_for(r"\+monitor master")
        return port

    def at(self, url: str, server: RedisServer) -> Far:
        return Far(url, server, tuple(self._links))


def _tcp(made: _Builder) -> Far:
    server = made.server()
    return made.at(f"redis://127.0.0.1:{made.link(server.port).port}/0", server)


def _tls(made: _Builder) -> Far:
    port = free_port()
    server = made.server(*server_options(made.folder, port))
    return made.at(f"rediss://127.0.0.1:{made.link(port).port}/0{made.trust}", server)


def _unix(made: _Builder) -> Far:
    server, path = made.server(), made.folder / "far.sock"
    made.link(server.port, path)
    return made.at(f"unix://{path}", server)


def _sentinel(made: _Builder) -> Far:
    server = made.server()
    primary = made.link(server.port).port
    hosts = [made.link(made.sentinel(primary, tls=False)).port for _ in range(2)]
    listed = ",".join(f"127.0.0.1:{port}" for port in hosts)
    return made.at(f"redis+sentinel://{listed}/{SERVICE}/0", server)


def _sentinel_tls(made: _Builder) -> Far:
    port = free_port()
    server = made.server(*server_options(made.folder, port))
    primary = made.link(port).port
    hosts = [made.link(made.sentinel(primary, tls=True)).port for _ in range(2)]
    listed = ",".join(f"127.0.0.1:{port}" for port in hosts)
    return made.at(f"rediss+sentinel://{listed}/{SERVICE}/0{made.trust}", server)


def _cluster(made: _Builder) -> Far:
    server = made.server("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    link = made.link(server.port)
    _serve_all_slots(server, "cluster-announce-port", link.port)
    return made.at(f"redis+cluster://127.0.0.1:{link.port}", server)


def _cluster_tls(made: _Builder) -> Far:
    port = free_port()
    tls = [*server_options(made.folder, port), "--tls-cluster", "yes"]
    server = made.server("--cluster-enabled", "yes", "--cluster-port", str(free_port()), *tls)
    link = made.link(port)
    _serve_all_slots(server, "cluster-announce-tls-port", link.port)
    return made.at(f"rediss+cluster://127.0.0.1:{link.port}{made.trust}", server)


def _serve_all_slots(server: RedisServer, setting: str, port: int) -> None:
    with server.client(decode_responses=True) as client:
        client.config_set(setting, port)
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        eventually(
            lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok",
            what="the cluster is up",
        )


KINDS: Mapping[str, Callable[[_Builder], Far]] = {
    "TCP": _tcp,
    "TLS": _tls,
    "unix socket": _unix,
    "Sentinel": _sentinel,
    "TLS Sentinel": _sentinel_tls,
    "Cluster": _cluster,
    "TLS Cluster": _cluster_tls,
}


@contextmanager
def far_away(folder: Path, kind: str, delay: float) -> Iterator[Far]:
    """A Redis to be reached by this kind of address, over links with this delay each way."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        yield KINDS[kind](_Builder(folder, delay, stack))
