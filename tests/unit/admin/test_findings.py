"""Each rule of `doctor`: what it finds, what it doesn't, and that the docs list it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fulfillment_worker.admin.rules.diagnosis import CHECKS, diagnose, examine
from fulfillment_worker.admin.rules.facts import Facts, Misplaced, RedisFacts, Server
from fulfillment_worker.admin.rules.findings import CATALOGUE, Finding, Severity, reference
from fulfillment_worker.core import cadence
from fulfillment_worker.worker import wakeups

GIB = 1024**3
HEALTHY: dict[str, Any] = {
    "version": "7.2.4",
    "policy": "noeviction",
    "appendonly": True,
    "save": "3600 1",
    "appendfsync": "everysec",
    "aof_written": True,
    "rdb_written": True,
    "stops_writes": True,
    "used": GIB // 10,
    "limit": GIB,
    "role": "master",
    "min_replicas": 0,
    "timeout": 0,
    "clustered": False,
}
WELL = Facts(
    redis=RedisFacts(servers=(Server(**HEALTHY),), skew=0.1),
    orchestrator_grace=40.0,
    handler_fault="",
    port_fault="",
)


def server(**what: Any) -> dict[str, Any]:
    return redis(servers=(Server(**HEALTHY | what),))


def redis(**what: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"servers": WELL.redis.servers, "skew": 0.1}
    return {"redis": RedisFacts(**known | what)}


def found(**facts: Any) -> list[Finding]:
    given = {"handler_fault": "", "port_fault": "", **redis(), **facts}
    return diagnose(Facts(**given))


NO_SNAPSHOT = {"appendonly": False, "save": ""}
FOUND: list[tuple[str, dict[str, Any]]] = [
    ("unreachable", redis(servers=(), unreachable="it isn't there")),
    ("login_refused", redis(servers=(), unreachable="no", denied=True)),
    ("version", server(version="6.0.16")),
    ("tls_unverified", redis(scheme="rediss", unverified=True)),
    ("plain_tcp", redis(remote=True)),
    ("plain_tcp", redis(remote=True, scheme="redis+sentinel")),
    ("unseen", redis(unseen=("CONFIG", "CLUSTER"))),
    ("no_info", redis(unseen=("INFO",))),
    ("nameless", redis(unseen=("CLIENT",))),
    ("commands", redis(missing=("BLMOVE",))),
    ("rights", redis(lacking=("HSET", "XADD"))),
    ("rights_to_keys", redis(keys_denied="orders")),
    ("refused", redis(refused="OOM")),
    ("key_type", redis(misplaced=(Misplaced("orders", "string", "list", "'{orders}:x'"),))),
    ("eviction", server(policy="allkeys-lru")),
    ("eviction", server(policy="volatile-ttl")),
    ("no_persistence", server(**NO_SNAPSHOT)),
    ("snapshots_only", server(appendonly=False)),
    ("snapshots_only", server(appendonly=False, save=None)),
    ("appendfsync", server(appendfsync="no")),
    ("aof_failed", server(aof_written=False)),
    ("snapshot_failed", server(rdb_written=False)),
    ("snapshot_failed_silently", server(rdb_written=False, stops_writes=False)),
    ("memory", server(used=9 * GIB, limit=10 * GIB)),
    ("largest_order", server(used=GIB // 2, limit=GIB) | {"max_order_bytes": GIB // 100}),
    ("replica", server(role="slave", primary="db:6379", replicas=1)),
    ("timeout", server(timeout=5)),
    ("timeout_near", server(timeout=30)),
    ("cluster_url", server(clustered=True)),
    (
        "cluster_slots",
        redis(
            scheme="redis+cluster",
            servers=(Server(**HEALTHY | {"clustered": True, "slots_covered": False}),),
        ),
    ),
    ("clock", redis(skew=2.5)),
    ("clock", redis(skew=-3600.0)),
    ("lease_short", {"lease": 2.5}),
    ("lease_long", {"lease": 300.0}),
    ("grace", {"orchestrator_grace": 25.0}),
    ("grace_tight", {"orchestrator_grace": 30.0}),
    ("handler", {"handler_fault": "no module"}),
    ("metrics_port", {"port_fault": "Address already in use"}),
]


@pytest.mark.parametrize(("kind", "facts"), FOUND)
def test_each_fault_is_found_and_nothing_else(kind: str, facts: dict[str, Any]) -> None:
    (finding,) = found(**facts)
    assert finding.kind == kind
    assert finding.severity is CATALOGUE[kind].severity
    assert finding.what
    assert finding.means
    assert finding.mend
    assert "{" not in finding.what + finding.means


FINE: list[dict[str, Any]] = [
    server(version="7.0.0"),
    server(version="8.0.1"),
    redis(remote=True, scheme="rediss"),
    server(used=0, limit=None),
    server(used=GIB * 8 // 10, limit=GIB),
    server(timeout=70),
    server(timeout=None),
    server(appendonly=True, save=""),
    redis(scheme="redis+cluster", servers=(Server(**HEALTHY | {"clustered": True}),) * 3),
    redis(skew=-1.9),
    {"lease": 3.0},
    {"lease": 300.0, "order_timeout": 600.0},
    {"orchestrator_grace": 35.0},
    {"handler_fault": None, "port_fault": None},
    redis(servers=(Server(),), skew=None),
]


@pytest.mark.parametrize("facts", FINE)
def test_what_is_fine_is_not_found(facts: dict[str, Any]) -> None:
    assert found(**facts) == []


def test_every_check_passes_on_a_healthy_set_up() -> None:
    assert [(check.name, findings) for check, findings in examine(WELL)] == [
        (check.name, []) for check in CHECKS
    ]


def test_what_nobody_can_tell_is_left_out() -> None:
    left_out = {check.name for check, findings in examine(Facts()) if findings is None}
    assert left_out == {check.name for check in CHECKS} - {
        *("connection", "privacy", "insight", "rights", "keys", "lease")
    }


def test_replicas_are_told_of_and_should_be_waited_for() -> None:
    both = found(**server(replicas=2))
    assert [finding.kind for finding in both] == ["min_replicas", "replication"]
    assert [finding.kind for finding in found(**server(replicas=2, min_replicas=1))] == [
        "replication"
    ]


def test_a_replica_that_refuses_writes_is_one_fault() -> None:
    facts = redis(refused="READONLY", servers=(Server(**HEALTHY | {"role": "slave"}),))
    assert [finding.kind for finding in found(**facts)] == ["replica"]


def test_each_server_has_findings_of_its_own() -> None:
    bad = [Server(at=f"Redis at {port}", **HEALTHY | {"policy": "allkeys-lfu"}) for port in "ab"]
    facts = found(**redis(servers=(*bad, Server(**HEALTHY))))
    assert [finding.what.partition(" has")[0] for finding in facts] == ["Redis at a", "Redis at b"]


def test_the_line_names_server_and_value() -> None:
    facts = server(policy="allkeys-lru", cli="redis-cli -p 7000")
    (finding,) = found(**facts)
    assert finding.mend == "redis-cli -p 7000 CONFIG SET maxmemory-policy noeviction"
    (finding,) = found(**redis(lacking=("HSET", "XADD")))
    assert finding.mend == "redis-cli ACL SETUSER NAME +hset +xadd"
    (finding,) = found(**redis(keys_denied="orders"))
    assert finding.mend.endswith("'~orders' '~{orders}:*'")
    (finding,) = found(orchestrator_grace=20.0)
    assert "FULFILLMENT_SHUTDOWN_GRACE=10 " in finding.mend
    assert "35 s" in finding.mend


def test_all_kinds_are_tested() -> None:
    assert {kind for kind, _ in FOUND} | {"min_replicas", "replication"} == set(CATALOGUE)


def test_orders_at_risk_are_a_problem() -> None:
    by_severity = {
        each: {k for k in CATALOGUE if CATALOGUE[k].severity is each} for each in Severity
    }
    assert {"eviction", "no_persistence", "rights", "replica"} <= by_severity[Severity.PROBLEM]
    assert {"unseen", "clock", "replication", "plain_tcp"} <= by_severity[Severity.NOTE]


def test_the_times_are_those_of_the_worker() -> None:
    assert Facts().longest_wait == wakeups._PATIENCE
    longest = cadence._LONGEST_IDLE + cadence._IDLE_OVER_LEASE
    assert Facts().longest_silence == longest


def test_the_docs_list_all_findings_as_the_code_has_them() -> None:
    page = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert page.endswith(f"\n\n{reference()}"), "put what reference() returns at the page's end"
