"""A stand-in for KEDA and the autoscaler that it feeds: it does what a ScaledObject says.

It asks the same questions of the same servers as KEDA's scalers do: the Prometheus query, and the
length of keys in Redis, by a script that looks at the key's type. From the answers follow, by the
rules of both, how many workers there should be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import redis

from tests.support.prometheus import PrometheusApi

_LENGTH = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'zset' then return redis.call('ZCARD', KEYS[1]) end
return redis.call('LLEN', KEYS[1])
"""


class Answer(NamedTuple):
    """Of one trigger. value: None where it failed, which asks for no change."""

    name: str
    value: float | None
    target: float
    active: bool


class Scaler:
    """Decides how many workers there should be.

    resource: the ScaledObject. most: instead of its maxReplicaCount. cooldown: seconds for which no
    trigger may have been active before the last worker goes. clock: seconds, of any start.
    """

    def __init__(
        self,
        resource: dict[str, Any],
        prometheus: PrometheusApi,
        client: redis.Redis,
        *,
        most: int,
        cooldown: float,
        clock: Callable[[], float],
    ) -> None:
        self._triggers = resource["spec"]["triggers"]
        self._least = resource["spec"]["minReplicaCount"]
        self._most = most
        self._cooldown = cooldown
        self._prometheus = prometheus
        self._client = client
        self._clock = clock
        self._last_active = -math.inf
        self.woken_by: list[str] = []
        """The triggers that were active each time that there was no worker and one was wanted."""

    def answers(self) -> list[Answer]:
        """What each trigger says now."""
        return [self._ask(trigger) for trigger in self._triggers]

    def wanted(self, running: int) -> int:
        """How many there should be, where so many are running."""
        answers = self.answers()
        active = [answer.name for answer in answers if answer.active]
        if active:
            self._last_active = self._clock()
        if running == 0:
            if active:
                self.woken_by.append("+".join(active))
            return max(1, self._least) if active else 0
        failed = any(answer.value is None for answer in answers)
        if not active and not failed and self._least == 0:
            cooled = self._clock() - self._last_active >= self._cooldown
            return 0 if cooled else 1
        return self._by_load(answers, running, failed)

    def _by_load(self, answers: Iterable[Answer], running: int, failed: bool) -> int:
        """As the HorizontalPodAutoscaler: the most that any asks for, no fewer if one failed."""
        asked = [math.ceil(each.value / each.target) for each in answers if each.value is not None]
        wanted = min(max([1, *asked]), self._most)
        return max(wanted, running) if failed else wanted

    def _ask(self, trigger: dict[str, Any]) -> Answer:
        metadata, name = trigger["metadata"], trigger["name"]
        if trigger["type"] == "prometheus":
            value = self._prometheus.value(metadata["query"])
            if value is None and metadata["ignoreNullValues"] == "true":
                value = 0.0
            target, least = metadata["threshold"], metadata["activationThreshold"]
        else:
            value = float(self._client.eval(_LENGTH, 1, metadata["listName"]))
            target, least = metadata["listLength"], metadata["activationListLength"]
        return Answer(name, value, float(target), value is not None and value > float(least))
