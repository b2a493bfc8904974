"""`doctor` against real servers: one test for each misconfiguration."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from fulfillment_worker.cli.main import main
from tests.support.eventually import eventually
from tests.support.process import free_port
from tests.support.redis_server import VERSIONS, RedisServer

NewRedis = Callable[..., RedisServer]
SECRET = "hunter2"
KEYS = ("~orders", "~{orders}:*")


class Told(NamedTuple):
    """What the doctor said; findings by their kind."""

    exit_code: int
    findings: dict[str, dict[str, Any]]
    passed: list[str]
    skipped: list[str]


def doctor(url: str, *args: str) -> Told:
    line = ["doctor", "--redis-url", url, "--metrics-port", "0", "--json", *args]
    result = CliRunner().invoke(main, line)
    assert SECRET not in result.output
    assert result.exit_code in (0, 1), result.output
    answer = json.loads(result.stdout)
    assert answer["ok"] == (result.exit_code == 0)
    findings = {finding["kind"]: finding for finding in answer["findings"]}
    return Told(result.exit_code, findings, answer["passed"], answer["skipped"])


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("FULFILLMENT_") or name == "REDIS_URL":
            monkeypatch.delenv(name)


@pytest.fixture(params=VERSIONS)
def good(request: pytest.FixtureRequest, new_redis: NewRedis) -> Callable[..., RedisServer]:
    """Starts a server that is as it should be, but for the options given; of both versions."""

    def start(*options: str) -> RedisServer:
        keeping = ("--appendfsync", "everysec")
        return new_redis(request.param, *keeping, *options, persistent=True)

    return start


def test_a_good_server_passes_and_is_left_as_it_was(good: NewRedis) -> None:
    server = good()
    with server.client() as client:
        client.lpush("orders", '{"order_id": 1}')
        told = doctor(server.url, "--queue", "orders,express")
        assert client.keys() == [b"orders"]
        assert client.llen("orders") == 1
    assert (told.exit_code, told.findings) == (0, {})
    assert told.skipped == ["memory", "largest_order", "grace", "handler"]


def test_a_unix_socket_is_as_good(good: NewRedis) -> None:
    assert doctor(good().unix_url).findings == {}


def test_an_embedded_server_has_no_problem(tmp_path: Path) -> None:
    assert doctor(f"embedded:{tmp_path / 'data'}").exit_code == 0


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru"])
def test_eviction(good: NewRedis, policy: str) -> None:
    server = good("--maxmemory-policy", policy)
    told = doctor(server.url)
    assert (told.exit_code, list(told.findings)) == (1, ["eviction"])
    mend = told.findings["eviction"]["mend"]
    assert mend == (
        f"redis-cli -h 127.0.0.1 -p {server.port} CONFIG SET maxmemory-policy noeviction"
    )


def test_the_line_mends_it(good: NewRedis) -> None:
    server = good("--maxmemory-policy", "allkeys-lru")
    words = doctor(server.url).findings["eviction"]["mend"].split()
    with server.client() as client:
        client.execute_command(*words[words.index("CONFIG") :])
    assert doctor(server.url).findings == {}


def test_nothing_is_kept(new_redis: NewRedis) -> None:
    told = doctor(new_redis().url)
    assert (told.exit_code, list(told.findings)) == (1, ["no_persistence"])


def test_only_snapshots_are_kept(new_redis: NewRedis) -> None:
    told = doctor(new_redis("redis-7", "--save", "3600 1").url)
    assert (told.exit_code, list(told.findings)) == (0, ["snapshots_only"])


def test_the_system_decides_when_to_write(good: NewRedis) -> None:
    told = doctor(good("--appendfsync", "no").url)
    assert (told.exit_code, list(told.findings)) == (0, ["appendfsync"])


def test_a_snapshot_failed(good: NewRedis) -> None:
    server = good("--dbfilename", "dump.rdb")
    with server.client() as client:
        client.config_set("save", "3600 1")
        Path(str(client.config_get("dir")["dir"]), "dump.rdb").mkdir()
        client.set("x", 1)
        client.bgsave()
        eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    told = doctor(server.url)
    assert told.exit_code == 1
    assert {"snapshot_failed", "refused"} == told.findings.keys()
    assert "MISCONF" in told.findings["refused"]["what"]


def test_memory_is_nearly_full(good: NewRedis) -> None:
    server = good()
    with server.client() as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.1))
    told = doctor(server.url)
    assert {"memory", "largest_order"} <= told.findings.keys()


@pytest.mark.parametrize(("seconds", "kind"), [("5", "timeout"), ("30", "timeout_near")])
def test_idle_connections_are_cut(good: NewRedis, seconds: str, kind: str) -> None:
    told = doctor(good("--timeout", seconds).url)
    assert (told.exit_code, list(told.findings)) == (0, [kind])


def acl(server: RedisServer, *rules: str) -> str:
    """A user with these rules; its URL."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "worker", "reset", "on", f">{SECRET}", *rules)
    return server.url.replace("//", f"//worker:{SECRET}@")


def test_a_user_lacks_commands(good: NewRedis) -> None:
    told = doctor(acl(good(), *KEYS, "+@all", "-hset", "-xadd"))
    assert (told.exit_code, list(told.findings)) == (1, ["rights"])
    assert "ACL SETUSER NAME +hset +xadd" in told.findings["rights"]["mend"]
    assert "HSET, XADD" in told.findings["rights"]["what"]


@pytest.mark.parametrize("command", ["blmove", "fcall", "time", "del", "lpush"])
def test_a_user_lacks_one_command(good: NewRedis, command: str) -> None:
    server = good()
    told = doctor(acl(server, *KEYS, "+@all", f"-{command}"))
    assert f"NAME +{command}" in told.findings["rights"]["mend"]
    with server.client() as client:  # Without DEL, what was tried out can't be removed.
        assert set(client.keys()) <= {b"{orders}:scratch"}


@pytest.mark.parametrize("pattern", ["~orders", "~{orders}:*"])
def test_a_user_may_not_use_the_keys(good: NewRedis, pattern: str) -> None:
    told = doctor(acl(good(), pattern, "+@all"))
    assert (told.exit_code, list(told.findings)) == (1, ["rights_to_keys"])


def test_a_worker_with_the_least_rights_passes_and_the_rest_is_noted(good: NewRedis) -> None:
    rules = "+@read +@write +@scripting +@connection +@transaction +time +info"
    told = doctor(acl(good(), *KEYS, *rules.split()))
    assert (told.exit_code, list(told.findings)) == (0, ["unseen"])
    assert "CONFIG" in told.findings["unseen"]["what"]
    assert "timeout" in told.skipped


@pytest.mark.parametrize("login", [f":{SECRET}@", f"nobody:{SECRET}@", ""])
def test_the_login_is_wrong(good: NewRedis, login: str) -> None:
    server = good("--requirepass", "right")
    told = doctor(server.url.replace("//", f"//{login}"))
    assert (told.exit_code, list(told.findings)) == (1, ["login_refused"])


def test_nothing_is_there() -> None:
    told = doctor(f"redis://127.0.0.1:{free_port()}")
    assert (told.exit_code, list(told.findings)) == (1, ["unreachable"])


@pytest.mark.parametrize("scheme", ["rediss", "redis+sentinel", "redis+cluster"])
def test_nothing_is_there_in_any_other_way(scheme: str) -> None:
    path = "/shop/0" if scheme == "redis+sentinel" else ""
    told = doctor(f"{scheme}://w:{SECRET}@127.0.0.1:{free_port()}{path}")
    assert (told.exit_code, list(told.findings)) == (1, ["unreachable"])


@pytest.mark.parametrize("option", ["ssl_cert_reqs=none", "ssl_check_hostname=false"])
def test_tls_is_not_verified(option: str) -> None:
    told = doctor(f"rediss://127.0.0.1:{free_port()}?{option}")
    assert list(told.findings) == ["unreachable", "tls_unverified"]


def test_another_host_is_reached_without_tls() -> None:
    # Of a network that RFC 5737 keeps for documentation: nobody is there.
    told = doctor("redis://192.0.2.1:6379")
    assert list(told.findings) == ["unreachable", "plain_tcp"]


def test_a_name_that_is_not_resolved_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr("fulfillment_worker.admin.gather._PATIENCE", 0.05)
    monkeypatch.setattr(
        "fulfillment_worker.admin.gather.socket.getaddrinfo", lambda *_: never.wait()
    )
    told = doctor("redis://redis.example:6379")
    never.set()
    assert "can't be resolved in time" in told.findings["unreachable"]["what"]


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_server_that_hangs_is_given_up(good: NewRedis, scheme: str) -> None:
    server = good()
    server.pause()
    try:
        told = doctor(f"{scheme}://127.0.0.1:{server.port}")
    finally:
        server.resume()
    assert (told.exit_code, list(told.findings)) == (1, ["unreachable"])


def test_a_replica(good: NewRedis) -> None:
    primary = good()
    replica = good("--replicaof", "127.0.0.1", str(primary.port))
    with primary.client() as client:
        eventually(lambda: client.info("replication")["connected_slaves"] == 1)
    told = doctor(replica.url)
    assert (told.exit_code, list(told.findings)) == (1, ["replica"])
    assert f"redis://127.0.0.1:{primary.port}" in told.findings["replica"]["mend"]
    told = doctor(primary.url)
    assert (told.exit_code, list(told.findings)) == (0, ["min_replicas", "replication"])


@pytest.mark.parametrize("key", ["orders", "{orders}:books"])
def test_a_key_has_the_wrong_type(good: NewRedis, key: str) -> None:
    server = good()
    with server.client() as client:
        client.set(key, "x")
        told = doctor(server.url)
        assert (told.exit_code, list(told.findings)) == (1, ["key_type"])
        assert "is a string" in told.findings["key_type"]["what"]
        assert client.get(key) == b"x"


@pytest.fixture
def node(new_redis: NewRedis) -> RedisServer:
    """The only node of a Cluster, which has no slots yet."""
    return new_redis(
        "redis-7",
        *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
        *("--appendfsync", "everysec"),
        persistent=True,
    )


def test_a_cluster_with_the_url_of_a_server(node: RedisServer) -> None:
    told = doctor(node.url)
    assert told.exit_code == 1
    assert {"cluster_url", "cluster_slots"} <= told.findings.keys()


def test_a_cluster_passes_with_several_queues(node: RedisServer) -> None:
    with node.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        eventually(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        url = f"redis+cluster://127.0.0.1:{node.port}"
        told = doctor(url, "--queue", "orders,express")
        assert (told.exit_code, told.findings) == (0, {})
        client.config_set("maxmemory-policy", "allkeys-lru")
        mend = doctor(url).findings["eviction"]["mend"]
        assert mend.startswith(f"redis-cli -h 127.0.0.1 -p {node.port} CONFIG SET")


def test_the_metrics_port_is_taken(good: NewRedis) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = doctor(good().url, "--metrics-host", "127.0.0.1", "--metrics-port", port)
    assert (told.exit_code, list(told.findings)) == (1, ["metrics_port"])


def test_the_handler_does_not_load(
    good: NewRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = doctor(good().url, "--handler", "shop:fulfil")
    assert (told.exit_code, list(told.findings)) == (1, ["handler"])
    (tmp_path / "shop.py").write_text("async def fulfil(order): ...\n")
    assert doctor(good().url, "--handler", "shop:fulfil").findings == {}
