"""As much of a Redis client as the inspector and the producer use, over plain dicts."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ConnectionError as NoConnection

from fulfillment_worker.queue.inspector import HEAD


class FakeRedis:
    """lists run from left to right; zsets map members to scores. now: Unix ms."""

    def __init__(self) -> None:
        self.now = 1_000_000_000_000
        self.lists: dict[str, list[bytes]] = {}
        self.hashes: dict[str, dict[bytes, bytes]] = {}
        self.zsets: dict[str, dict[bytes, float]] = {}
        self.pushes: list[int] = []
        self.fail_after: int | None = None

    async def lpush(self, name: str, *values: bytes) -> int:
        if self.fail_after is not None and len(self.pushes) >= self.fail_after:
            raise NoConnection("gone")
        self.pushes.append(len(values))
        waiting = self.lists.setdefault(name, [])
        for value in values:
            waiting.insert(0, value)
        return len(waiting)

    async def execute_command(self, command: str, _script: str, _count: int, *names: str) -> int:
        """The one script that is known here: whether the queue was ever used."""
        assert command == "EVAL"
        return int(names[0] in self.lists or names[1] in self.hashes)

    def pipeline(self, *, transaction: bool) -> FakePipeline:
        assert transaction
        return FakePipeline(self)


class FakePipeline:
    """Runs each command at once, and tells all results at the end."""

    def __init__(self, redis: FakeRedis) -> None:
        self._redis = redis
        self._results: list[Any] = []

    def _tell(self, result: Any) -> FakePipeline:
        self._results.append(result)
        return self

    async def execute(self) -> list[Any]:
        return self._results

    def execute_command(self, command: str, script: str, *args: Any) -> FakePipeline:
        """Two scripts are known here: what order is at the head, and what the time is."""
        if script == HEAD.text:
            heads = [entries[-1] for name in args[1:] if (entries := self._redis.lists.get(name))]
            return self._tell(heads[0] if heads else None)
        assert (command, script) == ("EVAL", "return redis.call('TIME')")
        return self._tell((self._redis.now // 1000, self._redis.now % 1000 * 1000))

    def llen(self, name: str) -> FakePipeline:
        return self._tell(len(self._redis.lists.get(name, [])))

    def lrange(self, name: str, start: int, end: int) -> FakePipeline:
        return self._tell(self._redis.lists.get(name, [])[start : end + 1])

    def hlen(self, name: str) -> FakePipeline:
        return self._tell(len(self._redis.hashes.get(name, {})))

    def hmget(self, name: str, fields: list[bytes]) -> FakePipeline:
        values = self._redis.hashes.get(name, {})
        return self._tell([values.get(field) for field in fields])

    def hgetall(self, name: str) -> FakePipeline:
        return self._tell(dict(self._redis.hashes.get(name, {})))

    def hkeys(self, name: str) -> FakePipeline:
        return self._tell(list(self._redis.hashes.get(name, {})))

    def zcard(self, name: str) -> FakePipeline:
        return self._tell(len(self._redis.zsets.get(name, {})))

    def zrange(self, name: str, start: int, end: int, withscores: bool = False) -> FakePipeline:
        members = self._by_score(name)[start : None if end == -1 else end + 1]
        return self._tell(members if withscores else [member for member, _ in members])

    def zrangebyscore(
        self, name: str, least: str, most: str, *, start: int, num: int
    ) -> FakePipeline:
        assert (least[0], most) == ("(", "+inf")
        above = [member for member, score in self._by_score(name) if score > float(least[1:])]
        return self._tell(above[start : start + num])

    def _by_score(self, name: str) -> list[tuple[bytes, float]]:
        return sorted(self._redis.zsets.get(name, {}).items(), key=lambda pair: pair[1])
