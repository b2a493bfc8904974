"""What happens between one worker and Redis."""

from __future__ import annotations

import random
import time

from tests.chaos.ground import Ground, Injected
from tests.chaos.proxy import Cut, Proxy


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
