"""As much of a Redis client as the inspector and the producer use, over plain dicts."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ConnectionError as NoConnection

from fulfillment_worker.queue.library import LIBRARY, Function


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

    def pipeline(self, *, transaction: bool) -> FakePipeline:
        assert not transaction, "a Redis that is full refuses it"
        return FakePipeline(self)

    async def execute_command(self, command: str, name: str, *args: Any) -> Any:
        """Known here: how the queue stands, its dead letters, and whether it was ever used."""
        assert command == "FCALL"
        if name == LIBRARY.names[Function.KNOWN]:
            _, *names = args
            return int(names[0] in self.lists or names[1] in self.hashes)
        if name == LIBRARY.names[Function.OVERVIEW]:
            return self._overview(*args[1:])
        assert name == LIBRARY.names[Function.LETTERS]
        letters = self.hashes.get("{orders}:dead", {}).items()
        parts = [(number, *letter.split(b"\n", 1)) for number, letter in letters]
        return [b"0", [part for n, header, raw in parts for part in (n, header, len(raw))]]

    def _overview(self, public: str, woken: str, *names: str) -> list[Any]:
        retry, suspects, dead, books, leases, workers, scheduled, held, parked, in_flight = names
        head = [entries[-1] for name in (woken, public) if (entries := self.lists.get(name))]
        asked = FakePipeline(self)
        asked.llen(public).llen(woken).zcard(retry).llen(suspects).hlen(dead)
        asked.hgetall(books).zrange(leases, 0, -1).zrange(workers, 0, -1, withscores=True)
        asked.zcard(scheduled).hlen(held).hlen(parked)
        *sizes, counters, leased, heard, aside, put_by, waits = asked.results
        return [
            (self.now // 1000, self.now % 1000 * 1000),
            *sizes,
            head[0] if head else None,
            [part for pair in counters.items() for part in pair],
            leased,
            [part for name, at in heard for part in (name, b"%d" % at)],
            aside,
            put_by,
            waits,
            [len(self.hashes.get(in_flight + worker.decode(), {})) for worker in leased],
        ]


class FakePipeline:
    """Runs each command at once, and tells all results at the end."""

    def __init__(self, redis: FakeRedis) -> None:
        self._redis = redis
        self.results: list[Any] = []

    def _tell(self, result: Any) -> FakePipeline:
        self.results.append(result)
        return self

    async def execute(self) -> list[Any]:
        return self.results

    def llen(self, name: str) -> FakePipeline:
        return self._tell(len(self._redis.lists.get(name, [])))

    def lrange(self, name: str, start: int, end: int) -> FakePipeline:
        return self._tell(self._redis.lists.get(name, [])[start : end + 1])

    def hlen(self, name: str) -> FakePipeline:
        return self._tell(len(self._redis.hashes.get(name, {})))

    def hmget(self, name: str, fields: list[bytes]) -> FakePipeline:
        values = self._redis.hashes.get(name, {})
        return self._tell([values.get(field) for field in fields])

    def hget(self, name: str, field: str) -> FakePipeline:
        return self._tell(self._redis.hashes.get(name, {}).get(field.encode()))

    def hgetall(self, name: str) -> FakePipeline:
        return self._tell(dict(self._redis.hashes.get(name, {})))

    def hscan(self, name: str, cursor: int, count: int) -> FakePipeline:
        return self._tell((0, dict(self._redis.hashes.get(name, {}))))

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
