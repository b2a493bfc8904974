"""What `doctor` may find, and what to do about each: all its texts.

docs/doctor.md is tested against CATALOGUE. When something is found: admin/rules/diagnosis.py.
"""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """problem: orders can be lost, or aren't taken. warning: they can be late, or run again."""

    PROBLEM = "problem"
    WARNING = "warning"
    NOTE = "note"


class Finding(msgspec.Struct, frozen=True):
    """what: was found. means: what can happen to orders. mend: the line that mends it."""

    kind: str
    severity: Severity
    what: str
    means: str
    mend: str


class FindingKind(msgspec.Struct, frozen=True):
    """A sort of finding; its texts have {fields} that are filled in."""

    name: str
    severity: Severity
    what: str
    means: str
    mend: str

    def found(self, **fields: object) -> Finding:
        """A finding of this kind."""
        texts = (text.format(**fields) for text in (self.what, self.means, self.mend))
        return Finding(self.name, self.severity, *texts)


CATALOGUE: dict[str, FindingKind] = {}


def _kind(severity: Severity, name: str, what: str, means: str, mend: str) -> FindingKind:
    kind = CATALOGUE[name] = FindingKind(name, severity, what, means, mend)
    return kind


def reference() -> str:
    """The table of docs/doctor.md. What a finding fills in is an ellipsis, or a name to replace."""
    head = "| finding | severity | what is found | what can happen to orders | what mends it |\n"
    rows = (
        f"| `{kind.name}` | {kind.severity} | {_elided(kind.what)} | {_elided(kind.means)} "
        f"| `{_named(kind.mend)}` |\n"
        for kind in CATALOGUE.values()
    )
    return f"{head}| --- | --- | --- | --- | --- |\n{''.join(rows)}"


def _elided(text: str) -> str:
    return re.sub(r"\{\w+(:[^}]*)?\}", "…", text)


def _named(text: str) -> str:
    text = text.replace("{cli}", "redis-cli")
    text = re.sub(r"\{(\w+)(:[^}]*)?\}", lambda field: field[1].upper(), text)
    return text.replace("{{", "{").replace("}}", "}")


# --- the connection -------------------------------------------------------------------------------

UNREACHABLE = _kind(
    Severity.PROBLEM,
    "unreachable",
    "no Redis can be used: {why}",
    "orders can neither be placed nor taken through it; those that it holds wait",
    "{cli} PING",
)
DENIED = _kind(
    Severity.PROBLEM,
    "login_refused",
    "the login fails: {why}",
    "nothing is taken: orders pile up until the worker is let in",
    "{cli} --user NAME --askpass PING   # what works here, put into FULFILLMENT_REDIS_URL",
)
OLD = _kind(
    Severity.PROBLEM,
    "version",
    "{at} is version {version}, and lacks commands that are needed",
    "nothing is taken: orders pile up",
    "sudo apt-get install redis-server   # 7.0 or later, or Valkey 7.2 or later",
)
UNVERIFIED = _kind(
    Severity.WARNING,
    "tls_unverified",
    "TLS is used, but the server's certificate or its name isn't checked",
    "somebody between can read orders, change them and take them away",
    "export FULFILLMENT_REDIS_URL='rediss://…?ssl_ca_certs=/etc/ssl/redis-ca.pem'"
    "   # without ssl_cert_reqs and ssl_check_hostname",
)
PLAIN = _kind(
    Severity.NOTE,
    "plain_tcp",
    "the connection to another host is not encrypted",
    "whoever sees the network can read orders and the password; fine on a private one",
    "export FULFILLMENT_REDIS_URL='rediss://…'   # if the server offers TLS",
)
UNSEEN = _kind(
    Severity.NOTE,
    "unseen",
    "the server refuses {commands}: checks that need it were left out",
    "what those settings can do to orders is not known",
    "fulfillment-worker doctor   # once, as a user who may",
)
NO_INFO = _kind(
    Severity.WARNING,
    "no_info",
    "the server refuses INFO: most checks were left out, and no worker sees that it was restarted",
    "after it was away for longer than a lease, orders that are being handled can run again",
    "{cli} ACL SETUSER NAME +info   # or remove its rename-command from redis.conf",
)
NAMELESS = _kind(
    Severity.NOTE,
    "nameless",
    "the server refuses CLIENT SETNAME, so connections have no name",
    "nothing; CLIENT LIST does not show which connections are the workers'",
    "{cli} ACL SETUSER NAME '+client|setname'   # or remove its rename-command from redis.conf",
)


# --- rights and keys ------------------------------------------------------------------------------

LACKING = _kind(
    Severity.PROBLEM,
    "rights",
    "the user may not call {commands}",
    "nothing is taken: a worker stops before it touches the first order",
    "{cli} ACL SETUSER NAME {grants}",
)
MISSING = _kind(
    Severity.PROBLEM,
    "commands",
    "the server does not know {commands}: were they renamed?",
    "nothing is taken: a worker stops before it touches the first order",
    "sudo sed -i '/^rename-command/d' /etc/redis/redis.conf   # then restart Redis",
)
KEYS_DENIED = _kind(
    Severity.PROBLEM,
    "rights_to_keys",
    "the user may not use all keys of the queue {queue}",
    "nothing is taken from that queue: its orders pile up",
    "{cli} ACL SETUSER NAME '~{queue}' '~{{{queue}}}:*'",
)
REFUSED = _kind(
    Severity.PROBLEM,
    "refused",
    "a worker's commands are refused: {why}",
    "nothing is taken, and results of running orders can't be recorded until this is over",
    "{cli} INFO   # it shows what the server suffers from",
)
MISPLACED = _kind(
    Severity.PROBLEM,
    "key_type",
    "the key {key} is a {type}, and should be a {wanted}",
    "orders can't be pushed there, or not be taken; nothing of the queue moves",
    "{cli} RENAME {key} {aside}",
)


# --- what the server keeps ------------------------------------------------------------------------

EVICTION = _kind(
    Severity.PROBLEM,
    "eviction",
    "{at} has the maxmemory-policy {policy}",
    "when its memory is full, it deletes waiting orders, or the statuses by which copies are known",
    "{cli} CONFIG SET maxmemory-policy noeviction",
)
NOTHING_KEPT = _kind(
    Severity.PROBLEM,
    "no_persistence",
    "{at} keeps nothing on disk: no append-only file, and no save points",
    "a restart of Redis loses every order that is on it",
    "{cli} CONFIG SET appendonly yes",
)
SNAPSHOTS = _kind(
    Severity.WARNING,
    "snapshots_only",
    "{at} has no append-only file",
    "a restart of Redis loses the orders since its last snapshot, and runs ended ones again",
    "{cli} CONFIG SET appendonly yes",
)
FSYNC = _kind(
    Severity.WARNING,
    "appendfsync",
    "{at} leaves it to the system when to write its append-only file (appendfsync no)",
    "a power cut loses the orders of the last half minute or so",
    "{cli} CONFIG SET appendfsync everysec",
)
AOF_FAILED = _kind(
    Severity.PROBLEM,
    "aof_failed",
    "{at} could not write its append-only file the last time",
    "it refuses orders and results, or loses them on a restart; its disk is full, or broken",
    "df -h && {cli} BGREWRITEAOF",
)
RDB_BLOCKS = _kind(
    Severity.PROBLEM,
    "snapshot_failed",
    "{at} could not write its last snapshot, and refuses all writes because of it (MISCONF)",
    "no order can be placed or taken; its disk is full, or it could not fork",
    "df -h && {cli} BGSAVE",
)
RDB_FAILED = _kind(
    Severity.WARNING,
    "snapshot_failed_silently",
    "{at} could not write its last snapshot, and goes on (stop-writes-on-bgsave-error no)",
    "without an append-only file, a restart loses the orders since the last good one",
    "df -h && {cli} BGSAVE",
)
MEMORY = _kind(
    Severity.WARNING,
    "memory",
    "{at} uses {percent} % of the memory that it may have",
    "when it is full, producers can't place orders, and results can't be recorded",
    "{cli} CONFIG SET maxmemory {double}   # if the host has it; or shorten --status-ttl",
)
LARGEST_ORDER = _kind(
    Severity.NOTE,
    "largest_order",
    "the memory left at {at} holds only {count} orders of the largest size that is allowed",
    "a few very large orders can fill it, and then no more can be placed",
    "export FULFILLMENT_MAX_ORDER_BYTES=64KiB   # or what the largest order needs",
)


# --- how the server is run ------------------------------------------------------------------------

REPLICA = _kind(
    Severity.PROBLEM,
    "replica",
    "{at} is a replica",
    "it can't be written: nothing is taken, and orders at the primary wait",
    "export FULFILLMENT_REDIS_URL=redis://{primary}   # with the login and database as before",
)
ALONE = _kind(
    Severity.WARNING,
    "min_replicas",
    "{at} has replicas, and takes orders also when none of them follows",
    "a failover can lose all orders since the replicas fell behind",
    "{cli} CONFIG SET min-replicas-to-write 1",
)
ASYNCHRONOUS = _kind(
    Severity.NOTE,
    "replication",
    "{at} has replicas, and they follow a little later",
    "a failover can lose the orders of the last moment, and run ended ones again",
    "{cli} WAIT 1 1000   # what a producer says after LPUSH, on the same connection",
)
CUT = _kind(
    Severity.WARNING,
    "timeout",
    "{at} cuts connections that are idle for {timeout} s (its `timeout`)",
    "idle workers connect anew for each exchange, and orders wait for that",
    "{cli} CONFIG SET timeout 0",
)
NEARLY_CUT = _kind(
    Severity.NOTE,
    "timeout_near",
    "{at} has a `timeout` of {timeout} s, and idle workers wait up to {wait:g} s for orders",
    "Redis spares clients that wait for an order; proxies before it may not, and orders are late",
    "{cli} CONFIG SET timeout 0",
)
CLUSTER = _kind(
    Severity.PROBLEM,
    "cluster_url",
    "{at} belongs to a Cluster, and the URL is that of a single server",
    "queues whose slot is on another node, or moves there, can't be served: their orders wait",
    "export FULFILLMENT_REDIS_URL=redis+cluster://HOST:PORT,HOST:PORT",
)
SLOTS = _kind(
    Severity.PROBLEM,
    "cluster_slots",
    "the Cluster that {at} belongs to doesn't serve all slots",
    "queues whose slot is missing can't be reached: their orders wait, or are on a lost node",
    "{cli} CLUSTER INFO && {cli} CLUSTER NODES   # then bring back the node that is missing",
)
CLOCK = _kind(
    Severity.NOTE,
    "clock",
    "this host's clock is {skew:.1f} s {way} that of Redis",
    "none is lost, since leases go by Redis's clock; waits told by `enqueued_at` are off by that",
    "timedatectl set-ntp true   # on both hosts",
)


# --- the worker's own settings --------------------------------------------------------------------

SHORT_LEASE = _kind(
    Severity.WARNING,
    "lease_short",
    "the lease is {lease:g} s",
    "on a busy host a living worker can be too late: its orders are taken from it, and run again",
    "export FULFILLMENT_LEASE=10s",
)
LONG_LEASE = _kind(
    Severity.NOTE,
    "lease_long",
    "the lease ({lease:g} s) is longer than an attempt may take ({order_timeout:g} s)",
    "when a worker is killed, its orders wait that long before another runs them",
    "export FULFILLMENT_LEASE=10s",
)
KILLED = _kind(
    Severity.PROBLEM,
    "grace",
    "the worker may take {grace:g} s to drain, and is killed after {given:g} s",
    "each stop orphans what still runs: it runs again, and is a dead letter after some times",
    "export FULFILLMENT_SHUTDOWN_GRACE={fitting:g}   # or let the orchestrator wait {enough:g} s",
)
HURRIED = _kind(
    Severity.WARNING,
    "grace_tight",
    "the worker is killed {spare:g} s after its grace of {grace:g} s has ended",
    "what runs until then may not be given back in time: it is orphaned once, and runs again",
    "export FULFILLMENT_SHUTDOWN_GRACE={fitting:g}   # or let the orchestrator wait {enough:g} s",
)
HANDLER = _kind(
    Severity.PROBLEM,
    "handler",
    "the handler can't be loaded: {why}",
    "the worker doesn't start, and orders pile up",
    "fulfillment-worker doctor --handler package.module:function   # until it loads",
)
PORT = _kind(
    Severity.PROBLEM,
    "metrics_port",
    "the metrics port {port} can't be bound: {why}",
    "the worker doesn't start, and orders pile up; unless a worker of yours is what has it",
    "ss -ltnp 'sport = :{port}'   # who has it; or choose another with --metrics-port",
)
