"""Redis as the workers find it: one server, sentinels with their servers, or a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import redis
from redis.crc import key_slot

from tests.support.clock import Clock
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.topology import SERVICE, Cluster, Watched, cluster, role, seen_by, watched

SLOT = key_slot(b"orders")
USER, PASSWORD = "shop", "hunter2"
_CALM = f"sentinel down-after-milliseconds {SERVICE} 3000"
"""On a busy machine sentinels that give up sooner depose a primary just after they have made it."""


class Site(Protocol):
    """safe: how many replicas must have an order before its producer believes the answer.

    proxies: what stands between a worker and Redis, by the worker's slot. clock: by which Redis
    tells the time.
    """

    @property
    def clock(self) -> Clock:
        """See above."""

    @property
    def safe(self) -> int:
        """See above."""

    @property
    def proxies(self) -> Mapping[int, Proxy]:
        """See above."""

    def client(self, **options: Any) -> redis.Redis:
        """Of the server that has the queue now; redis.ConnectionError while there is none."""

    def url(self, slot: int) -> str:
        """With which the worker in this slot connects."""


class Single:
    """One server; the last two of the workers reach it through a proxy each.

    clock: the server's, where it can be set (not Debian's Redis: libfaketime and jemalloc wait for
    each other).
    """

    safe = 0

    def __init__(self, server: RedisServer, clock: Clock) -> None:
        self.server = server
        self.clock = clock
        self.proxies: Mapping[int, Proxy] = {2: Proxy(server.port), 3: Proxy(server.port)}

    def client(self, **options: Any) -> redis.Redis:
        """See Site."""
        return self.server.client(**options)

    def url(self, slot: int) -> str:
        """See Site."""
        port = self.proxies[slot].port if slot in self.proxies else self.server.port
        return f"redis://{USER}:{PASSWORD}@127.0.0.1:{port}/0"


class Sentinels:
    """A primary, two replicas, three sentinels."""

    safe = 1
    proxies: Mapping[int, Proxy] = {}

    def __init__(self, group: Watched, clock: Clock) -> None:
        self.group = group
        self.clock = clock

    def client(self, **options: Any) -> redis.Redis:
        """See Site."""
        return self.primary().client(**options)

    def url(self, slot: int) -> str:
        """See Site."""
        return self.group.url

    def primary(self) -> RedisServer:
        """The server that a sentinel names, and that says so itself."""
        for port in self.named():
            named = self.by_port(port)
            if role(named) == "master":
                return named
        raise redis.ConnectionError("there is no primary now")

    def by_port(self, port: int) -> RedisServer:
        """One of the servers."""
        return next(each for each in self.group.servers if each.port == port)

    def named(self) -> list[int]:
        """The port of the primary, by each sentinel."""
        told = []
        for sentinel in self.group.sentinels:
            with sentinel.client() as client:
                told.append(int(client.sentinel_get_master_addr_by_name(SERVICE)[1]))
        return told


class Nodes:
    """A cluster of three primaries with a replica each."""

    safe = 1
    proxies: Mapping[int, Proxy] = {}

    def __init__(self, group: Cluster, clock: Clock) -> None:
        self.group = group
        self.clock = clock

    def client(self, **options: Any) -> redis.Redis:
        """See Site."""
        return self.owner().client(**options)

    def url(self, slot: int) -> str:
        """See Site."""
        return self.group.url

    def owner(self) -> RedisServer:
        """The node that has the queue's slot: of those that say so, the one of the last epoch."""
        owners = [(epoch, node) for node in self.group.nodes if (epoch := _epoch_of_owner(node))]
        if not owners:
            raise redis.ConnectionError("nobody has the slot now")
        return max(owners, key=lambda owner: owner[0])[1]

    def primaries(self) -> list[RedisServer]:
        """All nodes that are none's replica now."""
        return [node for node in self.group.nodes if role(node) == "master"]

    def replica_of(self, primary: RedisServer) -> RedisServer:
        """The node that follows this one."""
        with primary.client() as client:
            port = client.info("replication")["slave0"]["port"]
        return next(node for node in self.group.nodes if node.port == port)


def _epoch_of_owner(node: RedisServer) -> int:
    """The epoch in which this node became the owner of the queue's slot; 0 if it isn't."""
    with suppress(redis.ConnectionError):
        for line in seen_by(node):
            _, _, flags, _, _, _, epoch, _, *ranges = line.split()
            if flags == "myself,master" and any(map(_has_slot, ranges)):
                return int(epoch)
    return 0


def _has_slot(slots: str) -> bool:
    """Whether the queue's is among these: `7` or `0-5460`; `[7->-id]` is one that moves."""
    first, _, last = slots.partition("-")
    return first.isdigit() and int(first) <= SLOT <= int(last or first)


@contextmanager
def open_site(folder: Path, name: str) -> Iterator[Site]:
    """`redis-7`, `valkey-9`, `sentinel` or `cluster`.

    A single server keeps what it acknowledges; where a replica takes over, what counts is what it
    had been sent, so that nobody needs to wait for a disk.
    """
    clock = Clock(folder / "clock")
    if name == "sentinel":
        with watched(folder / "sentinel", _CALM, replicas=2, fsync="no") as group:
            group.wait_until_known(2)
            yield Sentinels(group, clock)
    elif name == "cluster":
        with cluster(folder / "cluster", replicas=3, fsync="no") as nodes:
            yield Nodes(nodes, clock)
    else:
        with _single(folder, name, clock) as site:
            yield site


@contextmanager
def _single(folder: Path, version: str, clock: Clock) -> Iterator[Single]:
    """It lets itself be put to sleep."""
    options = ["--appendfsync", "always", "--maxmemory-policy", "noeviction"]
    options += ["--user", USER, "on", f">{PASSWORD}", "~*", "+@all"]
    options += ["--enable-debug-command", "local"]
    server = RedisServer(folder, version, *options, persistent=True)
    if version == "valkey-9":
        server.env = clock.env
    server.start()
    site = Single(server, clock)
    try:
        yield site
    finally:
        for proxy in site.proxies.values():
            proxy.close()
        server.close()
