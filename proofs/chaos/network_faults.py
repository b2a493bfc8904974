"""What happens between one worker and Redis."""

from __future__ import annotations

import random
import time

from proofs.chaos.fleet import Make
from proofs.chaos.ground import Ground, Injected
from proofs.chaos.handler_faults import await_no_poison
from tests.support.eventually import PATIENCE
from tests.support.proxy import Cut, Proxy


def cut_in_a_request(ground: Ground, rng: random.Random) -> Injected:
    """Half of a request arrives, and then the connection is gone."""
    return _cut(ground, rng, "network: cut in a request", Cut.REQUEST)


def cut_in_a_reply(ground: Ground, rng: random.Random) -> Injected:
    """The script ran, and half of its answer arrives."""
    return _cut(ground, rng, "network: cut in a reply", Cut.REPLY)


def black_hole(ground: Ground, rng: random.Random) -> Injected:
    """Nothing arrives for 3 s, and no connection is closed."""
    fault, proxy = _begin(ground, rng, "network: black hole for 3 s")
    proxy.swallow()
    return _hold(ground, fault, proxy, 3.0)


def latency(ground: Ground, rng: random.Random) -> Injected:
    """Each answer takes half a second more."""
    fault, proxy = _begin(ground, rng, "network: 500 ms latency")
    proxy.delay = 0.5
    return _hold(ground, fault, proxy, rng.uniform(1.0, 2.0))


def byte_by_byte(ground: Ground, rng: random.Random) -> Injected:
    """One byte at a time, both ways."""
    fault, proxy = _begin(ground, rng, "network: one byte at a time")
    proxy.drip = True
    return _hold(ground, fault, proxy, rng.uniform(0.5, 1.0))


def slow_link(ground: Ground, rng: random.Random) -> Injected:
    """A few kB a second, or some hundreds: each large order takes most of a second of it.

    The lease is long enough for a dozen of them. All of them must be fulfilled while it is slow.
    """
    rate = rng.choice((4, 16, 50, 100, 400)) * 1000
    fault, proxy = _replaced(ground, rng, "network: slow link, 4 to 400 kB/s", 30.0)
    proxy.rate = rate
    try:
        fault.ids = ground.producer.place(many=12, size=rate * 3 // 4)
        ground.wait(lambda: _fulfilled(ground, fault), fault.kind, PATIENCE)
    finally:
        proxy.heal()
    return _given_back(ground, fault)


def far_link(ground: Ground, rng: random.Random) -> Injected:
    """Up to half a second each way: a worker starts, works, and loses its connections there."""
    await_no_poison(ground)
    distance = rng.uniform(0.1, 0.5)
    fault, proxy = _begin(ground, rng, "network: far link, up to 500 ms each way")
    proxy.distance = distance
    try:
        [slot] = fault.slots
        ground.fleet.succeed(slot, Make(lease=10.0))
        ground.wait(lambda: _works(ground, slot, fault.began), fault.kind, PATIENCE)
        proxy.hang_up()
        since = time.monotonic()
        ground.wait(lambda: _works(ground, slot, since), f"{fault.kind}, again", PATIENCE)
    finally:
        proxy.heal()
    return _given_back(ground, fault)


def _replaced(
    ground: Ground, rng: random.Random, kind: str, lease: float
) -> tuple[Injected, Proxy]:
    """The fault, at a worker that has a lease of its own; a poison must not end it."""
    await_no_poison(ground)
    fault, proxy = _begin(ground, rng, kind)
    [slot] = fault.slots
    ground.fleet.succeed(slot, Make(lease=lease))
    return fault, proxy


def _given_back(ground: Ground, fault: Injected) -> Injected:
    """A common worker takes the place again."""
    [slot] = fault.slots
    ground.fleet.succeed(slot)
    fault.ended = time.monotonic()
    return fault


def _fulfilled(ground: Ground, fault: Injected) -> bool:
    calls = ground.record.by_order
    return all(any(call.how == "ok" for call in calls[each]) for each in fault.ids)


def _works(ground: Ground, slot: int, since: float) -> bool:
    """Whether the worker in this slot has fulfilled an order that it began since then."""
    pid = ground.fleet[slot].pid
    return any(
        call.pid == pid and call.start > since and call.how == "ok"
        for call in reversed(ground.record.calls[-2000:])
    )


def _cut(ground: Ground, rng: random.Random, kind: str, where: Cut) -> Injected:
    fault, proxy = _begin(ground, rng, kind)
    proxy.cut(where)
    ground.wait(proxy.cut_off.is_set, kind)
    fault.ended = time.monotonic()
    return fault


def _begin(ground: Ground, rng: random.Random, kind: str) -> tuple[Injected, Proxy]:
    slot = rng.choice(list(ground.site.proxies))
    fault = Injected(kind, time.monotonic(), slots={slot}, mute={slot})
    return fault, ground.site.proxies[slot]


def _hold(ground: Ground, fault: Injected, proxy: Proxy, seconds: float) -> Injected:
    try:
        ground.hold(seconds)
    finally:
        proxy.heal()
    fault.ended = time.monotonic()
    return fault
