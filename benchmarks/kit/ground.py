"""Where one run takes place: a Redis of its own on its own core, and a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

from benchmarks.kit.machine import REDIS_CORE, cpu_seconds, on_core
from tests.support.redis_server import RedisServer


@dataclass(frozen=True)
class Ground:
    """folder: for the run's own files. server: nobody else's. redis_pid: its process."""

    folder: Path
    server: RedisServer
    client: redis.Redis
    redis_pid: int

    @property
    def marks(self) -> Path:
        """The file in which handlers tell how far they are."""
        return self.folder / "marks"

    def redis_cpu(self) -> float:
        """Seconds of CPU that Redis has used."""
        return cpu_seconds(self.redis_pid)


@contextmanager
def ground(*redis_options: str, cores: tuple[int, ...] = (REDIS_CORE,)) -> Iterator[Ground]:
    """A fresh one, taken away at the end. cores: those that Redis may run on."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with on_core(*cores):
            server = RedisServer(folder, "redis-7", *redis_options).start()
        try:
            with server.client() as client:
                yield Ground(folder, server, client, client.info("server")["process_id"])
        finally:
            server.close()
