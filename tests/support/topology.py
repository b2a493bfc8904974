"""Redis servers that stand together: a primary under the watch of sentinels, and a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import redis
from redis.crc import key_slot

from tests.support.eventually import eventually
from tests.support.process import RunningProcess, free_port
from tests.support.redis_server import RedisServer, binary_of

SERVICE = "shop"
_SLOTS = 16384


class Sentinel:
    """One sentinel, which gives a primary up after a second of silence."""

    def __init__(self, folder: Path, primary: RedisServer, *lines: str) -> None:
        self.port = free_port()
        self.config = folder / "sentinel.conf"
        told = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} 1000",
            f"sentinel failover-timeout {SERVICE} 2000",
            *lines,
        )
        self.config.write_text("\n".join(told) + "\n")
        self.process: RunningProcess | None = None

    def start(self) -> Self:
        command = [binary_of("redis-7"), str(self.config), "--sentinel"]
        self.process = RunningProcess(command)
        self.process.wait_for(r"\+monitor master")
        return self

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True, **options)

    def close(self) -> None:
        if self.process is not None:
            self.process.close()
            self.process = None


class Watched:
    """A primary, its replicas, and three sentinels. url: by way of the sentinels."""

    def __init__(self, servers: list[RedisServer], sentinels: list[Sentinel]) -> None:
        self.servers = servers
        self.sentinels = sentinels
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}/0"

    def wait_until_known(self, replicas: int, **login: str) -> None:
        """Wait until each sentinel knows the others and all replicas."""

        def known() -> bool:
            for sentinel in self.sentinels:
                with sentinel.client(**login) as client:
                    told = client.sentinel_master(SERVICE)
                seen = (told["num-slaves"], told["num-other-sentinels"])
                assert seen == (replicas, len(self.sentinels) - 1), seen
            return True

        eventually(known, what="the sentinels know each other")

    def promoted(self, old: RedisServer) -> RedisServer | None:
        """The server that is the primary in the place of `old`, once there is one."""
        others = (server for server in self.servers if server is not old)
        return next((server for server in others if role(server) == "master"), None)


@contextmanager
def watched(
    folder: Path, *lines: str, replicas: int = 1, fsync: str = "always"
) -> Iterator[Watched]:
    """Start them; they are ready for a fail-over only after `wait_until_known`.

    lines: more of the sentinels' configuration.
    """
    with ExitStack() as stack:

        def server(*options: str) -> RedisServer:
            made = RedisServer(
                _made(folder / f"server-{len(servers)}"),
                "redis-7",
                *("--repl-diskless-sync-delay", "0", "--appendfsync", fsync, *options),
                persistent=True,
            )
            servers.append(made)
            stack.callback(made.close)
            return made.start()

        servers: list[RedisServer] = []
        primary = server()
        for _ in range(replicas):
            server("--replicaof", "127.0.0.1", str(primary.port))
        for replica in servers[1:]:
            wait_until_in_step(replica)
        sentinels = []
        for number in range(3):
            sentinel = Sentinel(_made(folder / f"sentinel-{number}"), primary, *lines)
            stack.callback(sentinel.close)
            sentinels.append(sentinel.start())
        yield Watched(servers, sentinels)


class Cluster:
    """Three primaries, and a replica of the one that serves `queue`, or one of each."""

    def __init__(self, nodes: list[RedisServer], queue: str) -> None:
        self.nodes = nodes
        self.owner = nodes[key_slot(queue.encode()) * 3 // _SLOTS]
        self.replica = nodes[3]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes[:3])

    def client(self) -> redis.RedisCluster:
        """A new client, to be closed by the caller."""
        return redis.RedisCluster(host="127.0.0.1", port=self.nodes[1].port, decode_responses=True)

    def form(self) -> None:
        """Make one cluster of the nodes, and wait until all agree."""
        ids = [node_id(node) for node in self.nodes]
        for number, node in enumerate(self.nodes):
            with node.client() as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                if number < 3:
                    first, last = (-(-_SLOTS * n // 3) for n in (number, number + 1))
                    client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
        for node in self.nodes[1:]:
            self._meet(node)
        eventually(lambda: all(self._knows_all(node) for node in self.nodes), what="all have met")
        primaries = [self.owner, *(node for node in self.nodes[:3] if node is not self.owner)]
        for primary, replica in zip(primaries, self.nodes[3:], strict=False):
            with replica.client() as client:
                client.execute_command("CLUSTER", "REPLICATE", ids[self.nodes.index(primary)])
        eventually(lambda: all(map(_cluster_is_up, self.nodes)), what="the cluster is up")
        for replica in self.nodes[3:]:
            wait_until_in_step(replica)
        eventually(
            lambda: all(self._shows_replica(n, each) for n in self.nodes for each in ids[3:]),
            what="all know the replicas",
        )

    def _meet(self, node: RedisServer) -> None:
        with self.nodes[0].client() as client:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus_port(node))

    def _knows_all(self, node: RedisServer) -> bool:
        seen = seen_by(node)
        return len(seen) == len(self.nodes) and not any("handshake" in line for line in seen)

    def _shows_replica(self, node: RedisServer, replica: str) -> bool:
        return any(line.startswith(replica) and "slave" in line for line in seen_by(node))

    def move_slot(
        self, slot: int, source: RedisServer, target: RedisServer, many: int = 1
    ) -> Iterator[str]:
        """Move a slot as redis-cli does, so many keys at a time; yields the names of the moved."""
        source_id, target_id = node_id(source), node_id(target)
        with source.client() as giving, target.client() as taking:
            taking.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
            giving.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
            where = ("127.0.0.1", target.port, "", 0, 5000, "KEYS")
            while names := giving.execute_command("CLUSTER", "GETKEYSINSLOT", slot, many):
                giving.execute_command("MIGRATE", *where, *names)
                yield from names
            for client in (taking, giving):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)


@contextmanager
def cluster(
    folder: Path, queue: str = "orders", replicas: int = 1, fsync: str = "always"
) -> Iterator[Cluster]:
    """Start a cluster. A node is given up after a second of silence."""
    with ExitStack() as stack:
        nodes = []
        for number in range(3 + replicas):
            bus = str(free_port())
            node = RedisServer(
                _made(folder / f"node-{number}"),
                "redis-7",
                *("--cluster-enabled", "yes", "--cluster-port", bus),
                *("--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"),
                *("--appendfsync", fsync),
                persistent=True,
            )
            nodes.append(node)
            stack.callback(node.close)
            node.start()
        made = Cluster(nodes, queue)
        made.form()
        yield made


def role(server: RedisServer) -> str:
    """`master` or `slave`, as the server believes; it hangs up on a change, then it is ""."""
    with server.client() as client, suppress(redis.exceptions.ConnectionError):
        return str(client.info("replication")["role"])
    return ""


def wait_until_in_step(replica: RedisServer) -> None:
    """Wait until the replica has what its primary has, and follows it."""
    with replica.client() as client:
        eventually(
            lambda: client.info("replication").get("master_link_status") == "up",
            what="the replica is in step",
        )


def node_id(node: RedisServer) -> str:
    with node.client(decode_responses=True) as client:
        return str(client.execute_command("CLUSTER", "MYID"))


def bus_port(node: RedisServer) -> int:
    with node.client(decode_responses=True) as client:
        return int(client.config_get("cluster-port")["cluster-port"])


def seen_by(node: RedisServer) -> list[str]:
    """What a node knows of each, itself among them: `id address flags …`."""
    with node.client(decode_responses=True) as client:
        return str(client.execute_command("CLUSTER", "NODES")).splitlines()


def _cluster_is_up(node: RedisServer) -> bool:
    with node.client(decode_responses=True) as client:
        told = str(client.execute_command("CLUSTER", "INFO"))
    return "cluster_state:ok" in told and f"cluster_slots_assigned:{_SLOTS}" in told


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
