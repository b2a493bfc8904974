"""What `doctor` gathers before it judges; see admin/rules/diagnosis.py.

A fact that nobody could tell is None, and the checks that need it are left out.
"""

from __future__ import annotations

import msgspec


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """What one Redis server tells of itself; None where it doesn't. Bytes and seconds.

    at: its address. cli: the command that reaches it. primary: of a replica, the other server.
    """

    at: str = "Redis"
    cli: str = "redis-cli"
    version: str | None = None
    policy: str | None = None
    appendonly: bool | None = None
    save: str | None = None
    appendfsync: str | None = None
    aof_written: bool | None = None
    rdb_written: bool | None = None
    stops_writes: bool | None = None
    used: int | None = None
    limit: int | None = None
    role: str | None = None
    primary: str = ""
    replicas: int = 0
    min_replicas: int | None = None
    timeout: int | None = None
    clustered: bool | None = None
    slots_covered: bool = True


class Misplaced(msgspec.Struct, frozen=True):
    """A key of a queue that is of another type; all as text that is safe for a shell."""

    key: str
    type: str
    wanted: str
    aside: str


class RedisFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was found at the Redis URL.

    unreachable: why it can't be used; "" where it can. denied: it refused the login. servers: the
    primaries that answered. lacking: commands that the user may not call. missing: those that the
    server does not know. keys_denied: for a queue that the user may not use, its name. refused:
    what else it says to a worker's functions. unseen: commands that would have told more. skew:
    seconds by which this host's clock is ahead.
    """

    scheme: str = "redis"
    remote: bool = False
    unverified: bool = False
    unreachable: str = ""
    denied: bool = False
    cli: str = "redis-cli"
    servers: tuple[Server, ...] = ()
    lacking: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    keys_denied: str = ""
    refused: str = ""
    unseen: tuple[str, ...] = ()
    misplaced: tuple[Misplaced, ...] = ()
    skew: float | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the rules look at. Seconds and bytes.

    orchestrator_grace: how long what stops the worker waits; None: not told. handler_fault,
    port_fault: why not; "" where there is no fault, None where it wasn't tried.
    """

    redis: RedisFacts = RedisFacts()
    lease: float = 10.0
    order_timeout: float = 60.0
    shutdown_grace: float = 25.0
    orchestrator_grace: float | None = None
    max_order_bytes: int = 1024 * 1024
    longest_wait: float = 60.0
    longest_silence: float = 11.5
    handler_fault: str | None = None
    port: int = 2112
    port_fault: str | None = None
