"""What happens to Redis; every worker feels it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis

from proofs.chaos.ground import Ground, Injected
from proofs.chaos.seen import look
from proofs.chaos.sites import PASSWORD
from tests.support.orders import books


def killed(ground: Ground, rng: random.Random) -> Injected:
    """SIGKILL, and started again on what its append-only file holds."""
    return _restarted(ground, rng, "Redis: SIGKILL and restart", ground.server.kill)


def shut_down(ground: Ground, rng: random.Random) -> Injected:
    """SHUTDOWN, and started again."""
    return _restarted(ground, rng, "Redis: SHUTDOWN and restart", ground.server.stop)


def connections_killed(ground: Ground, rng: random.Random) -> Injected:
    """CLIENT KILL of everybody."""
    fault = _begin(ground, "Redis: CLIENT KILL of all")
    with ground.server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    return _end(fault)


def paused(ground: Ground, rng: random.Random) -> Injected:
    """CLIENT PAUSE for a second: connected, and silent."""
    fault = _begin(ground, "Redis: CLIENT PAUSE 1 s")
    with ground.server.client() as client:
        client.execute_command("CLIENT", "PAUSE", "1000", "ALL")
        client.ping()  # Answered when the pause is over.
    return _end(fault)


def functions_flushed(ground: Ground, rng: random.Random) -> Injected:
    """FUNCTION FLUSH."""
    fault = _begin(ground, "Redis: FUNCTION FLUSH")
    with ground.server.client() as client:
        client.function_flush("SYNC")
    return _end(fault)


def full(ground: Ground, rng: random.Random) -> Injected:
    """Out of memory with noeviction, for a while."""
    fault = _begin(ground, "Redis: out of memory")
    with ground.server.client() as client:
        client.config_set("maxmemory", "1")
        ground.hold(rng.uniform(0.2, 1.0))
        client.config_set("maxmemory", "0")
    return _end(fault)


def disk_full(ground: Ground, rng: random.Random) -> Injected:
    """It can't save, and refuses all writes therefore (MISCONF)."""
    fault = _begin(ground, "Redis: disk full (MISCONF)")
    obstacle = ground.server.folder / "dump.rdb"
    with ground.server.client() as client:
        client.config_set("save", "3600 1000000")
        obstacle.unlink(missing_ok=True)
        obstacle.mkdir()
        _save(ground, client, "err")
        ground.hold(rng.uniform(0.2, 1.0))
        obstacle.rmdir()  # From here on it can save again, and says so once it has.
        _save(ground, client, "ok")
        client.config_set("save", "")
    return _end(fault)


def _save(ground: Ground, client: Any, ends: str) -> None:
    """Save in the background until that ends so."""

    def ended() -> bool:
        told = client.info("persistence")
        if told["rdb_last_bgsave_status"] == ends:
            return True
        with suppress(redis.ResponseError):  # One is under way, or its append-only file rewritten.
            client.bgsave()
        return False

    ground.wait(ended, f"a save that ends with {ends}")


def read_only(ground: Ground, rng: random.Random) -> Injected:
    """It is a replica for a while, as after a fail-over that nobody told of."""
    fault = _begin(ground, "Redis: read-only")
    with ground.server.client() as client:
        client.replicaof("127.0.0.1", "1")  # Nobody is there, so it keeps what it has.
        ground.hold(rng.uniform(0.2, 1.0))
        client.replicaof("NO", "ONE")
    return _end(fault)


def forgets_all(ground: Ground, rng: random.Random) -> Injected:
    """FLUSHALL: what it had is gone, but whatever comes afterwards is kept.

    Workers say so, unless they are too young to have seen what it had.
    """
    # Workers notice that fewer orders were ever received than when they looked last.
    ground.wait(lambda: books(ground.server).received > 1500, "there is something to forget", 300)
    fault = _begin(ground, "Redis: FLUSHALL")
    with ground.producer.held(), ground.server.client() as client:
        seen = look(ground.server, ground.producer.placed)
        client.flushall()
        fault.lost_at = time.monotonic()
        ground.producer.forget(seen.has_ended)
        ground.before.add(seen)
    fault.ended = time.monotonic()
    ground.wait(lambda: any(_says_so(ground, slot, fault.began) for slot in fault.slots), "told")
    return fault


def _says_so(ground: Ground, slot: int, since: float) -> bool:
    return any(at > since for at in ground.fleet[slot].told("redis_data_lost"))


def password_rotated(ground: Ground, rng: random.Random) -> Injected:
    """Another password than the workers know, for a while."""
    fault = _begin(ground, "Redis: password rotated and back")
    with ground.server.client() as client:
        client.execute_command("ACL", "SETUSER", "shop", "resetpass", ">another")
        client.execute_command("CLIENT", "KILL", "USER", "shop")
        ground.hold(rng.uniform(0.2, 1.0))
        client.execute_command("ACL", "SETUSER", "shop", "resetpass", f">{PASSWORD}")
    return _end(fault)


def slow_script(ground: Ground, rng: random.Random) -> Injected:
    """Somebody else's script runs and runs, and all others are told that it is BUSY."""
    fault = _begin(ground, "Redis: a slow script (BUSY)")
    with ground.server.client() as client, ground.server.client() as other:
        other.ping()
        client.config_set("lua-time-limit", "50")
        client.connection_pool.get_connection().send_command("EVAL", "while true do end", 0)
        ground.hold(rng.uniform(0.3, 1.0))
        other.script_kill()
        client.config_set("lua-time-limit", "5000")
    return _end(fault)


def slow_neighbour(ground: Ground, rng: random.Random) -> Injected:
    """Somebody else's command keeps it busy for 0.3 s."""
    fault = _begin(ground, "Redis: busy for 0.3 s")
    with ground.server.client() as client:
        client.execute_command("DEBUG", "SLEEP", "0.3")
    return _end(fault)


def _restarted(ground: Ground, rng: random.Random, kind: str, end: Callable[[], None]) -> Injected:
    fault = _begin(ground, kind)
    end()
    ground.hold(rng.uniform(0.05, 0.8))
    ground.server.start()
    return _end(fault)


def _begin(ground: Ground, kind: str) -> Injected:
    everyone = set(ground.fleet)
    return Injected(kind, time.monotonic(), slots=everyone, mute=everyone)


def _end(fault: Injected) -> Injected:
    fault.ended = time.monotonic()
    return fault
