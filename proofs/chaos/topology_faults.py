"""What happens where Redis is several servers. Each fault ends when there is a primary again."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from proofs.chaos.ground import Ground, Injected
from proofs.chaos.sites import SLOT, Nodes, Sentinels
from tests.support.eventually import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.topology import SERVICE

# --- Sentinel -----------------------------------------------------------------------------------


def primary_killed(ground: Ground, rng: random.Random) -> Injected:
    """What no replica has is lost: acks come again, orders don't go, since producers WAIT."""
    fault, site = _begin(ground, "Sentinel: primary killed"), _sentinels(ground)
    old, fault.forgetful = site.primary(), True
    old.kill()
    fault.lost_at = time.monotonic()
    return _taken_over(ground, fault, old)


def primary_killed_in_step(ground: Ground, rng: random.Random) -> Injected:
    """A moment in which the replicas have everything: nothing may come again."""
    fault, site = _begin(ground, "Sentinel: primary killed, replicas in step"), _sentinels(ground)
    old = site.primary()
    with _writes_paused(ground, old):
        old.kill()
    return _taken_over(ground, fault, old)


def sentinels_told_to_fail_over(ground: Ground, rng: random.Random) -> Injected:
    """As an operator does who wants to lose nothing: SENTINEL FAILOVER while writes are paused.

    The old primary would go on as one for 8 s more, and take writes that nobody keeps.
    """
    fault, site = _begin(ground, "Sentinel: planned fail-over"), _sentinels(ground)
    old = site.primary()
    with _writes_paused(ground, old), site.group.sentinels[0].client() as sentinel:

        def taken_over() -> bool:
            return site.group.promoted(old) is not None or not _ask_to_fail_over(sentinel)

        ground.wait(taken_over, "a fail-over is begun", PATIENCE)
        new = site.group.promoted(old)
        with old.client() as client:
            assert new is not None
            client.replicaof("127.0.0.1", new.port)  # What the sentinels do 8 s later.
    return _taken_over(ground, fault, old)


def _ask_to_fail_over(sentinel: Any) -> bool:
    """False, always: whether it has happened is for others to see."""
    try:
        sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE)
    except redis.ResponseError:
        return True  # One is under way, or no replica is good enough yet.
    return True


def _taken_over(ground: Ground, fault: Injected, old: RedisServer) -> Injected:
    """Wait for a new primary, and then until the old one and the third server follow it."""
    site = _sentinels(ground)
    ground.wait(lambda: site.group.promoted(old) is not None, "a new primary", PATIENCE)
    fault.ended = time.monotonic()
    ground.wait(lambda: _agreed(site) not in (None, old), "all sentinels name it", PATIENCE)
    new = _agreed(site)
    assert new is not None
    if not old.running:
        old.start("--replicaof", "127.0.0.1", str(new.port))
    ground.wait(lambda: _followers(new) == 2, "the others follow", PATIENCE)
    return fault


def _agreed(site: Sentinels) -> RedisServer | None:
    """The primary that all sentinels name."""
    named = set(site.named())
    return site.by_port(named.pop()) if len(named) == 1 else None


def _followers(primary: RedisServer) -> int:
    with primary.client() as client:
        told = client.info("replication")
    replicas = (told[f"slave{number}"] for number in range(told["connected_slaves"]))
    return sum(replica["state"] == "online" for replica in replicas)


@contextmanager
def _writes_paused(ground: Ground, primary: RedisServer) -> Iterator[None]:
    """Enter when both replicas have all that this primary ever acknowledged.

    Not for long: what the sentinels publish each second waits too, and they believe it to be down.
    """
    others = [each for each in _sentinels(ground).group.servers if each is not primary]
    with primary.client() as client:
        client.execute_command("CLIENT", "PAUSE", str(int(PATIENCE * 1000)), "WRITE")
        last = client.info("replication")["master_repl_offset"]
        ground.wait(lambda: all(_has(each, last) for each in others), "the replicas are in step")
        yield
        if primary.running:
            client.execute_command("CLIENT", "UNPAUSE")


def _has(replica: RedisServer, offset: int) -> bool:
    with replica.client() as client:
        return bool(client.info("replication")["slave_repl_offset"] >= offset)


def _sentinels(ground: Ground) -> Sentinels:
    assert isinstance(ground.site, Sentinels)
    return ground.site


# --- Cluster ------------------------------------------------------------------------------------


def owner_killed(ground: Ground, rng: random.Random) -> Injected:
    """The node that has the queue; what its replica doesn't have is lost, as with Sentinel."""
    fault, site = _begin(ground, "Cluster: node killed"), _nodes(ground)
    old, fault.forgetful = site.owner(), True
    old.kill()
    fault.lost_at = time.monotonic()
    return _replaced(ground, fault, old)


def owner_told_to_fail_over(ground: Ground, rng: random.Random) -> Injected:
    """CLUSTER FAILOVER: the node waits until its replica has everything."""
    fault, site = _begin(ground, "Cluster: planned fail-over"), _nodes(ground)
    old = site.owner()
    with site.replica_of(old).client() as client:
        client.execute_command("CLUSTER", "FAILOVER")
    return _replaced(ground, fault, old)


def slot_moved(ground: Ground, rng: random.Random) -> Injected:
    """The queue goes to another node, a few keys at a time, while it is in use."""
    fault, site = _begin(ground, "Cluster: slot moved"), _nodes(ground)
    old = site.owner()
    new = rng.choice([node for node in site.primaries() if node is not old])
    for _ in site.group.move_slot(SLOT, old, new, many=10):
        ground.record.refresh()
    fault.ended = time.monotonic()
    return fault


def _replaced(ground: Ground, fault: Injected, old: RedisServer) -> Injected:
    """Wait until another has the slot, and then until the old one follows it."""
    site = _nodes(ground)

    def owner() -> RedisServer | None:
        try:
            return site.owner()
        except redis.ConnectionError:
            return None

    ground.wait(lambda: owner() not in (None, old), "another node has the slot", PATIENCE)
    fault.ended = time.monotonic()
    if not old.running:
        old.start()
    ground.wait(lambda: _follows(old), "the old one follows", PATIENCE)
    return fault


def _follows(node: RedisServer) -> bool:
    with node.client() as client:
        return bool(client.info("replication").get("master_link_status") == "up")


def _nodes(ground: Ground) -> Nodes:
    assert isinstance(ground.site, Nodes)
    return ground.site


# --- both ---------------------------------------------------------------------------------------


def _begin(ground: Ground, kind: str) -> Injected:
    everyone = set(ground.fleet)
    return Injected(kind, time.monotonic(), slots=everyone, mute=everyone)
