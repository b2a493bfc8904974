"""What happens to Redis; every worker feels it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.chaos.fleet import PASSWORD
from tests.chaos.ground import Ground, Injected


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


def scripts_flushed(ground: Ground, rng: random.Random) -> Injected:
    """SCRIPT FLUSH."""
    fault = _begin(ground, "Redis: SCRIPT FLUSH")
    with ground.server.client() as client:
        client.script_flush()
    return _end(fault)


def full(ground: Ground, rng: random.Random) -> Injected:
    """Out of memory with noeviction, for a while."""
    fault = _begin(ground, "Redis: out of memory")
    with ground.server.client() as client:
        client.config_set("maxmemory", "1")
        ground.hold(rng.uniform(0.2, 1.0))
        client.config_set("maxmemory", "0")
    return _end(fault)


def password_rotated(ground: Ground, rng: random.Random) -> Injected:
    """Another password than the workers know, for a while."""
    fault = _begin(ground, "Redis: password rotated and back")
    with ground.server.client() as client:
        client.execute_command("ACL", "SETUSER", "shop", "resetpass", ">another")
        client.execute_command("CLIENT", "KILL", "USER", "shop")
        ground.hold(rng.uniform(0.2, 1.0))
        client.execute_command("ACL", "SETUSER", "shop", "resetpass", f">{PASSWORD}")
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
