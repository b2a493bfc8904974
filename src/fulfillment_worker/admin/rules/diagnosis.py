"""From facts about Redis and this host to findings: one function for each check of `doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from fulfillment_worker.admin.rules import findings
from fulfillment_worker.admin.rules.facts import Facts, Server
from fulfillment_worker.admin.rules.findings import Finding, FindingKind

OLDEST = (7, 0)
_ENOUGH_ORDERS = 100
_GRACE_MARGIN = 10.0
"""Seconds: what a worker may need after the grace, to abort handlers and to give orders back."""

Rule = Callable[[Facts], Iterator[Finding]]


class Check(msgspec.Struct, frozen=True):
    """One thing that is looked at. passed: what to say when nothing was found.

    known: whether the facts that it needs could be had.
    """

    name: str
    passed: str
    rule: Rule
    known: Callable[[Facts], bool]


def examine(facts: Facts) -> list[tuple[Check, list[Finding] | None]]:
    """Each check with what it found; None where it could not be made."""
    return [(check, list(check.rule(facts)) if check.known(facts) else None) for check in CHECKS]


def diagnose(facts: Facts) -> list[Finding]:
    """Everything that was found, in the order of the checks."""
    return [finding for _, found in examine(facts) for finding in found or ()]


def _answered(facts: Facts) -> bool:
    return not facts.redis.unreachable


def _told(*names: str) -> Callable[[Facts], bool]:
    """Whether some server tells all of these facts about itself."""
    return lambda facts: any(
        all(getattr(server, name) is not None for name in names) for server in facts.redis.servers
    )


def _connection(facts: Facts) -> Iterator[Finding]:
    redis = facts.redis
    if redis.unreachable:
        kind = findings.DENIED if redis.denied else findings.UNREACHABLE
        yield kind.found(why=redis.unreachable, cli=redis.cli)


def _version(facts: Facts) -> Iterator[Finding]:
    for server in facts.redis.servers:
        if server.version and _numbers(server.version) < OLDEST:
            yield findings.OLD.found(at=server.at, version=server.version)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _privacy(facts: Facts) -> Iterator[Finding]:
    if facts.redis.unverified:
        yield findings.UNVERIFIED.found()
    if facts.redis.remote and not _is_private(facts.redis.scheme):
        yield findings.PLAIN.found()


def _is_private(scheme: str) -> bool:
    return scheme.startswith(("rediss", "unix", "embedded"))


def _insight(facts: Facts) -> Iterator[Finding]:
    redis = facts.redis
    own = {"INFO": findings.NO_INFO, "CLIENT": findings.NAMELESS}
    for name, kind in own.items():
        if name in redis.unseen:
            yield kind.found(cli=redis.cli)
    unseen = [name for name in redis.unseen if name not in own]
    if unseen:
        yield findings.UNSEEN.found(commands=" and ".join(unseen))


def _rights(facts: Facts) -> Iterator[Finding]:
    redis = facts.redis
    if redis.lacking:
        grants = " ".join(f"+{name.lower()}" for name in redis.lacking)
        yield findings.LACKING.found(
            commands=", ".join(redis.lacking), grants=grants, cli=redis.cli
        )
    if redis.missing:
        yield findings.MISSING.found(commands=", ".join(redis.missing))
    if redis.keys_denied:
        yield findings.KEYS_DENIED.found(queue=redis.keys_denied, cli=redis.cli)
    if redis.refused and all(server.role != "slave" for server in redis.servers):
        yield findings.REFUSED.found(why=redis.refused, cli=redis.cli)


def _keys(facts: Facts) -> Iterator[Finding]:
    for key in facts.redis.misplaced:
        yield findings.MISPLACED.found(cli=facts.redis.cli, **msgspec.structs.asdict(key))


def _eviction(facts: Facts) -> Iterator[Finding]:
    for server in facts.redis.servers:
        if server.policy not in (None, "noeviction"):
            yield findings.EVICTION.found(at=server.at, policy=server.policy, cli=server.cli)


def _persistence(facts: Facts) -> Iterator[Finding]:
    for server in facts.redis.servers:
        for kind in (*_kept(server), *_write_faults(server)):
            yield kind.found(at=server.at, cli=server.cli)


def _kept(server: Server) -> Iterator[FindingKind]:
    if server.appendonly is False:
        yield findings.NOTHING_KEPT if server.save == "" else findings.SNAPSHOTS
    if server.appendonly and server.appendfsync == "no":
        yield findings.FSYNC


def _write_faults(server: Server) -> Iterator[FindingKind]:
    if server.appendonly and server.aof_written is False:
        yield findings.AOF_FAILED
    if server.rdb_written is False:
        # What the setting is counts only while there are save points.
        yield findings.RDB_BLOCKS if server.stops_writes and server.save else findings.RDB_FAILED


def _memory(facts: Facts) -> Iterator[Finding]:
    for server in facts.redis.servers:
        if server.used is not None and server.limit and server.used > 0.8 * server.limit:
            percent, double = 100 * server.used // server.limit, 2 * server.limit
            yield findings.MEMORY.found(
                at=server.at, percent=percent, double=double, cli=server.cli
            )


def _largest_order(facts: Facts) -> Iterator[Finding]:
    for server in facts.redis.servers:
        if server.used is not None and server.limit:
            count = max(0, server.limit - server.used) // facts.max_order_bytes
            if count < _ENOUGH_ORDERS:
                yield findings.LARGEST_ORDER.found(at=server.at, count=count)


def _replication(facts: Facts) -> Iterator[Finding]:
    for server in facts.redis.servers:
        if server.role == "slave":
            yield findings.REPLICA.found(at=server.at, primary=server.primary)
        elif server.replicas:
            if server.min_replicas == 0:
                yield findings.ALONE.found(at=server.at, cli=server.cli)
            yield findings.ASYNCHRONOUS.found(at=server.at, cli=server.cli)


def _timeout(facts: Facts) -> Iterator[Finding]:
    for server in facts.redis.servers:
        timeout, fields = server.timeout or 0, {"at": server.at, "cli": server.cli}
        if 0 < timeout < facts.longest_silence + 1:
            yield findings.CUT.found(timeout=timeout, **fields)
        elif 0 < timeout < facts.longest_wait + 10:
            yield findings.NEARLY_CUT.found(timeout=timeout, wait=facts.longest_wait, **fields)


def _cluster(facts: Facts) -> Iterator[Finding]:
    for server in facts.redis.servers:
        if server.clustered and facts.redis.scheme != "redis+cluster":
            yield findings.CLUSTER.found(at=server.at)
        if server.clustered and not server.slots_covered:
            yield findings.SLOTS.found(at=server.at, cli=server.cli)


def _clock(facts: Facts) -> Iterator[Finding]:
    skew = facts.redis.skew or 0.0
    if abs(skew) > 2:
        yield findings.CLOCK.found(skew=abs(skew), way="ahead of" if skew > 0 else "behind")


def _lease(facts: Facts) -> Iterator[Finding]:
    if facts.lease < 3:
        yield findings.SHORT_LEASE.found(lease=facts.lease)
    if facts.lease > max(60.0, facts.order_timeout):
        yield findings.LONG_LEASE.found(lease=facts.lease, order_timeout=facts.order_timeout)


def _grace(facts: Facts) -> Iterator[Finding]:
    spare = (facts.orchestrator_grace or 0.0) - facts.shutdown_grace
    if spare < _GRACE_MARGIN:
        kind = findings.HURRIED if spare > 0 else findings.KILLED
        yield kind.found(
            grace=facts.shutdown_grace,
            given=facts.orchestrator_grace,
            spare=spare,
            fitting=max(0.0, (facts.orchestrator_grace or 0.0) - _GRACE_MARGIN),
            enough=facts.shutdown_grace + _GRACE_MARGIN,
        )


def _handler(facts: Facts) -> Iterator[Finding]:
    if facts.handler_fault:
        yield findings.HANDLER.found(why=facts.handler_fault)


def _port(facts: Facts) -> Iterator[Finding]:
    if facts.port_fault:
        yield findings.PORT.found(port=facts.port, why=facts.port_fault)


def _always(_: Facts) -> bool:
    return True


CHECKS: tuple[Check, ...] = (
    Check("connection", "Redis answers, and accepts the login", _connection, _always),
    Check("version", "the server is recent enough", _version, _told("version")),
    Check("privacy", "nobody between can read or change orders", _privacy, _always),
    Check("insight", "the server tells all that is to be checked", _insight, _answered),
    Check("rights", "the user may do all that a worker does", _rights, _answered),
    Check("keys", "the keys of the queue are what they should be", _keys, _answered),
    Check("eviction", "a full memory deletes no orders", _eviction, _told("policy")),
    Check("persistence", "a restart of Redis loses no orders", _persistence, _told("appendonly")),
    Check("memory", "there is memory left", _memory, _told("used", "limit")),
    Check(
        "largest_order",
        "many orders of the largest size fit into it",
        _largest_order,
        _told("used", "limit"),
    ),
    Check("replication", "the server is a primary", _replication, _told("role")),
    Check("timeout", "idle workers keep their connection", _timeout, _told("timeout")),
    Check("cluster", "the URL fits the kind of server", _cluster, _told("clustered")),
    Check("clock", "the clocks agree", _clock, lambda facts: facts.redis.skew is not None),
    Check("lease", "the lease is neither too short nor too long", _lease, _always),
    Check(
        "grace",
        "a drain ends before the worker is killed",
        _grace,
        lambda facts: facts.orchestrator_grace is not None,
    ),
    Check("handler", "the handler loads", _handler, lambda facts: facts.handler_fault is not None),
    Check(
        "metrics_port",
        "the metrics port is free",
        _port,
        lambda facts: facts.port_fault is not None,
    ),
)
