"""Every way to reach Redis, with real servers: sockets, TLS, least rights, Sentinel, Cluster."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from redis.crc import key_slot

from tests.support.calls import Calls, taking
from tests.support.certificates import certify, make_authority, server_options
from tests.support.eventually import eventually
from tests.support.orders import bodies, books, place, wait_until_all
from tests.support.process import free_port, run_cli
from tests.support.redis_server import RedisServer
from tests.support.topology import SERVICE, Cluster, Watched, cluster, role, watched
from tests.support.worker import RunningWorker

Start = Callable[..., RunningWorker]
NewRedis = Callable[..., RedisServer]

ROOT = Path(__file__).parents[2]
TWENTY = ("--concurrency", "20")


def wait_for_readyz(worker: RunningWorker, status: int, *says: str) -> None:
    def answers() -> bool:
        found, body = worker.get("/readyz")
        assert found == status, body
        assert all(word in body.lower() for word in says), body
        assert len(body.strip().splitlines()) == 1, body
        return True

    eventually(answers, what=f"/readyz {status} {says}")


def cli(*arguments: str, url: str, stdin: str = "") -> str:
    done = run_cli(*arguments, "--redis-url", url, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_all_commands(server: RedisServer, url: str, run_worker: Start) -> RunningWorker:
    """`run`, `enqueue`, `status` and `queue` work by way of `url`."""
    worker = run_worker(url)
    worker.wait_until_ready()
    lines = "\n".join(map(json.dumps, bodies(20)))
    cli("enqueue", "-", url=url, stdin=lines)
    wait_until_all(server, bodies(20))
    assert "fulfilled" in cli("status", "A-0", url=url)
    (told,) = json.loads(cli("queue", "--json", url=url))
    assert (told["fulfilled"], told["waiting"]) == (20, 0)
    assert worker.events("redis_lost") == []
    return worker


# --- one server ---------------------------------------------------------------------------------


def test_a_unix_socket(redis_server: RedisServer, run_worker: Start) -> None:
    check_all_commands(redis_server, redis_server.unix_url, run_worker)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca, server and client, each .crt and .key; and the same of `other`."""
    folder = tmp_path_factory.mktemp("certificates")
    for authority in ("ca", "other"):
        make_authority(folder, authority)
    for name, authority in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        certify(folder, name, authority)
    return folder


@pytest.fixture
def tls_server(new_redis: NewRedis, certificates: Path) -> tuple[RedisServer, str]:
    """A server that wants a client's certificate, and its address."""
    port = free_port()
    server = new_redis("redis-7", *server_options(certificates, port, clients="yes"))
    return server, f"rediss://127.0.0.1:{port}/0"


def test_tls_with_a_client_certificate(
    tls_server: tuple[RedisServer, str], certificates: Path, run_worker: Start
) -> None:
    server, url = tls_server
    pem = {"ssl_ca_certs": "ca.crt", "ssl_certfile": "client.crt", "ssl_keyfile": "client.key"}
    query = "&".join(f"{name}={certificates / file}" for name, file in pem.items())
    check_all_commands(server, f"{url}?{query}", run_worker)


@pytest.mark.parametrize(
    ("ca", "client", "why"),
    [
        ("other", "client", "certificate verify failed"),
        ("ca", "stranger", ""),
        ("ca", None, ""),
    ],
    ids=["wrong authority", "wrong client", "no client certificate"],
)
def test_tls_that_is_not_trusted(
    tls_server: tuple[RedisServer, str],
    certificates: Path,
    run_worker: Start,
    ca: str,
    client: str | None,
    why: str,
) -> None:
    query = f"ssl_ca_certs={certificates / ca}.crt"
    if client:
        query += f"&ssl_certfile={certificates / client}.crt"
        query += f"&ssl_keyfile={certificates / client}.key"
    worker = run_worker(f"{tls_server[1]}?{query}")
    wait_for_readyz(worker, 503, "can't be reached", why)
    assert "Traceback" not in worker.output
    assert worker.returncode is None


# --- least rights -------------------------------------------------------------------------------


def documented_rights() -> list[str]:
    """The arguments of ACL SETUSER in the docs."""
    text = (ROOT / "docs" / "redis.md").read_text()
    (line,) = re.findall(r"^\$ redis-cli (ACL SETUSER .*)$", text, re.MULTILINE)
    return shlex.split(line)


def grant(server: RedisServer, *more: str) -> str:
    """Make the documented user, changed by `more`; refunds the URL to log in with."""
    *command, user, on, password = documented_rights()[:5]
    assert (user, on, password) == ("worker", "on", ">PASSWORD")
    with server.client() as client:
        client.execute_command(*command, user, "reset")
        client.execute_command(*documented_rights(), *more)
    return f"redis://worker:PASSWORD@127.0.0.1:{server.port}/0"


def forget_users(server: RedisServer) -> None:
    with server.client() as client:
        client.execute_command("ACL", "DELUSER", "worker")


@pytest.fixture
def limited(redis_server: RedisServer) -> Iterator[RedisServer]:
    yield redis_server
    forget_users(redis_server)


def test_the_documented_rights_are_enough(limited: RedisServer, run_worker: Start) -> None:
    url = grant(limited)
    with limited.client() as client:
        client.execute_command("ACL", "LOG", "RESET")
    handler = """
from fulfillment_worker import Reject, Retry

async def fulfil(order):
    if order.id == "R-0" and order.attempt == 1:
        raise Retry("later", after=0)
    if order.id == "D-0":
        raise Reject("never")
"""
    check_all_commands(limited, url, run_worker).terminate()
    worker = run_worker(url, handler)
    for prefix, status in (("R", "fulfilled"), ("D", "dead")):
        place(limited, bodies(1, prefix))
        cli("status", f"{prefix}-0", url=url)
        wait_until_all(limited, bodies(1, prefix), status)
    assert worker.terminate() == 0
    with limited.client() as client:
        denied = {entry["object"] for entry in client.acl_log()}
    # The client library tells its own name and version, and doesn't mind a refusal.
    assert denied <= {"client|setinfo", "client"}


def test_documented_rights_cover_all_functions() -> None:
    lua = (ROOT / "src" / "fulfillment_worker" / "queue" / "lua").glob("*.lua")
    called = {name for file in lua for name in re.findall(r"call\('([A-Z]+)'", file.read_text())}
    assert {f"+{name.lower()}" for name in called} <= set(documented_rights())


def test_the_documented_rights_are_no_more(redis_7: RedisServer) -> None:
    login = grant(redis_7)
    with redis.Redis.from_url(login) as client:
        for command in (("KEYS", "*"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("GET", "orders")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.lpush("others", "x")
    forget_users(redis_7)


@pytest.mark.parametrize("command", ["fcall", "blmove", "hset", "xadd"])
def test_a_right_that_is_missing_is_named(
    limited: RedisServer, run_worker: Start, command: str
) -> None:
    worker = run_worker(grant(limited, f"-{command}"))
    place(limited, bodies(1))
    wait_for_readyz(worker, 503, "does not permit", command)
    grant(limited)
    wait_until_all(limited, bodies(1))
    assert worker.returncode is None


# --- Sentinel -----------------------------------------------------------------------------------


def place_safely(server: RedisServer, orders: Iterable[dict[str, str]]) -> None:
    """Push, and wait until a replica has it all."""
    place(server, orders)
    with server.client() as client:
        assert client.wait(1, 5000) >= 1


def check_none_lost(server: RedisServer, calls: Calls, orders: list[dict[str, str]]) -> None:
    """All are fulfilled, none was handled twice at the same time, and the books balance."""
    wait_until_all(server, orders)
    assert set(calls.ids()) == {order["order_id"] for order in orders}
    assert calls.overlapping() == []
    eventually(lambda: books(server).in_flight == 0, what="nothing in flight")
    now = books(server)
    assert (now.waiting, now.retrying, now.dead, now.unaccounted) == (0, 0, 0, 0)


def test_a_primary_that_is_killed(tmp_path: Path, run_worker: Start, calls: Calls) -> None:
    with watched(tmp_path / "w", replicas=2) as group:
        group.wait_until_known(2)
        old = group.servers[0]
        orders = bodies(1500)
        place_safely(old, orders)
        worker = run_worker(group.url, taking(0.02), *TWENTY, env=calls.env)
        eventually(lambda: calls.count() >= 300, what="300 calls")
        old.kill()
        new = eventually(lambda: group.promoted(old), what="a new primary")
        assert new is not None
        place(new, bodies(20, "later"))
        wait_until_all(new, bodies(20, "later"))
        check_none_lost(new, calls, [*orders, *bodies(20, "later")])
        assert worker.returncode is None
        leave_a_demoted_primary(group, old, new)
        wait_for_readyz(worker, 200)
        assert worker.terminate() == 0


def leave_a_demoted_primary(group: Watched, killed: RedisServer, old: RedisServer) -> None:
    """An operator makes the last replica the primary; the old primary becomes its replica."""
    (new,) = (server for server in group.servers if server not in (killed, old))
    with group.sentinels[0].client() as client:
        eventually(lambda: can_fail_over(client), what="a fail-over is begun")
    eventually(lambda: role(new) == "master", what="a new primary")
    with old.client() as client:
        client.replicaof("127.0.0.1", new.port)  # What the sentinels do 8 s later.
    place(new, bodies(20, "B"))
    wait_until_all(new, bodies(20, "B"))


def can_fail_over(client: Any) -> bool:
    try:
        client.execute_command("SENTINEL", "FAILOVER", SERVICE)
    except redis.exceptions.ResponseError:
        return False  # The last one is not over, or no replica is good enough yet.
    return True


def test_sentinels_that_are_silent_or_want_a_password(tmp_path: Path, run_worker: Start) -> None:
    with watched(tmp_path / "w", "requirepass s3ntinel", replicas=0) as group:
        primary, login = group.servers[0], "?sentinel_password=s3ntinel"
        refused = run_worker(group.url)
        wait_for_readyz(refused, 503, "password")
        for sentinel in group.sentinels[:2]:
            assert sentinel.process is not None
            sentinel.process.pause()
        check_all_commands(primary, group.url + login, run_worker)
        unknown = run_worker(group.url.replace(SERVICE, "nobody") + login)
        wait_for_readyz(unknown, 503, "can't be reached")
        assert "s3ntinel" not in unknown.output


# --- Cluster ------------------------------------------------------------------------------------


def test_orders_in_a_cluster(tmp_path: Path, run_worker: Start, calls: Calls) -> None:
    assert key_slot(b"orders") * 3 // 16384 != key_slot(b"refunds") * 3 // 16384
    with cluster(tmp_path / "c") as group:
        check_all_commands(group.owner, group.url, run_worker).terminate()
        both = ("--queue", "orders,refunds")
        worker = run_worker(group.url, taking(0.01), *both, *TWENTY, env=calls.env)
        cli("enqueue", "-", "--queue", "refunds", url=group.url, stdin='{"order_id": "r"}')
        assert "r" in eventually(calls.ids, what="the order of the other queue")
        told = json.loads(cli("queue", "--json", *both, url=group.url))
        assert [each["queue"] for each in told] == ["orders", "refunds"]
        by_one = run_worker(f"redis://127.0.0.1:{group.nodes[1].port}/0")
        wait_for_readyz(by_one, 503, "redis+cluster://")
        check_a_moved_slot(group, group.nodes[1], calls)
        assert worker.returncode is None
        assert worker.terminate() == 0


def check_a_moved_slot(group: Cluster, target: RedisServer, calls: Calls) -> None:
    """Producers push, and the worker claims, while the slot of `orders` is moved."""
    before, meanwhile, after = bodies(400, "M"), bodies(15, "N"), bodies(20, "O")
    place(group.owner, before)
    many = calls.count()
    eventually(lambda: calls.count() >= many + 100, what="100 calls")
    pushed = iter(meanwhile)
    with group.client() as producer:
        for _ in group.move_slot(key_slot(b"orders"), group.owner, target):
            for order in islice(pushed, 1):
                producer.lpush("orders", json.dumps(order))
    assert next(pushed, None) is None
    place(target, after)
    wait_until_all(target, before + meanwhile + after)
    assert max(Counter(calls.ids()).values()) == 1
    assert books(target).unaccounted == 0


def test_a_node_that_is_killed(tmp_path: Path, run_worker: Start, calls: Calls) -> None:
    with cluster(tmp_path / "c") as group:
        orders = bodies(1500)
        place_safely(group.owner, orders)
        worker = run_worker(group.url, taking(0.02), *TWENTY, env=calls.env)
        eventually(lambda: calls.count() >= 300, what="300 calls")
        group.owner.kill()
        done = run_cli("queue", "--redis-url", group.url)
        assert done.returncode in (0, 1)
        assert "Traceback" not in done.stderr
        eventually(lambda: role(group.replica) == "master", what="the replica is promoted")
        place(group.replica, bodies(20, "later"))
        wait_until_all(group.replica, bodies(20, "later"))
        check_none_lost(group.replica, calls, [*orders, *bodies(20, "later")])
        assert worker.returncode is None
        assert "Unclosed" not in worker.output
        assert worker.terminate() == 0


def test_a_cluster_that_refuses_the_login(new_redis: NewRedis, run_worker: Start) -> None:
    server = new_redis("redis-7", "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with server.client() as client:
        client.config_set("requirepass", "right")
    url = f"redis+cluster://:wrong@127.0.0.1:{server.port}"
    wait_for_readyz(run_worker(url), 503, "refused the user name or the password")


# --- a lost reply -------------------------------------------------------------------------------


class Proxy:
    """Stands before a server, and cuts a connection in place of a reply that hands out orders.

    cuts: how many it has still to do. lost: the orders in each such reply.
    """

    def __init__(self, port: int) -> None:
        self.cuts = 0
        self.lost: list[list[str]] = []
        self._open = ExitStack()
        self._server_port = port
        self._listener = self._open.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._open.enter_context(self._listener.accept()[0])
                address = ("127.0.0.1", self._server_port)
                server = self._open.enter_context(socket.create_connection(address))
                for ends in ((client, server, False), (server, client, True)):
                    thread = threading.Thread(target=self._relay, args=ends)
                    self._threads.append(thread)
                    thread.start()

    def _relay(self, source: socket.socket, target: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                # The header of an entry tells a claim from the answer to a blocking wait.
                ids = re.findall(rb'\n\d+ 0 0 \d+\n\{"order_id": "([^"]+)"', data)
                if replies and ids and self.cuts:
                    self.cuts -= 1
                    self.lost.append([order.decode() for order in ids])
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening, and wait for the relays; the worker is gone by now."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._open.close()


def test_lost_reply_costs_its_orders_no_lease(
    redis_server: RedisServer, run_worker: Start, calls: Calls
) -> None:
    with Proxy(redis_server.port) as proxy:
        proxy.cuts = 3
        orders = bodies(100)
        place(redis_server, orders)
        # A lease that would be over long after this test.
        options = (*TWENTY, "--lease", "1h")
        worker = run_worker(proxy.url, taking(0.05), *options, env=calls.env)
        check_none_lost(redis_server, calls, orders)
        assert worker.terminate() == 0
    assert max(Counter(calls.ids()).values()) == 1
    assert len(proxy.lost) == 3
    assert all(proxy.lost)
