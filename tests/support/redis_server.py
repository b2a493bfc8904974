"""Real Redis servers, each with a folder, a socket and a port of its own."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any, Protocol, Self

import pytest
import redis

from fulfillment_worker.embedded.valkey import server_binary
from tests.support.eventually import eventually
from tests.support.process import RunningProcess, free_port

VERSIONS = ("redis-7", "valkey-9")


def binary_of(version: str) -> str:
    """The server program for `redis-7` or `valkey-9`; the test fails where it is missing."""
    if version == "valkey-9":
        return str(server_binary())
    found = shutil.which(os.environ.get("REDIS_SERVER", "redis-server"))
    if found is None:
        pytest.fail("redis-server is missing; run: sudo apt-get install -y redis-server")
    return found


class Reachable(Protocol):
    """Whatever has a client that can be asked for an order."""

    def client(self, **options: Any) -> redis.Redis:
        """A new client, to be closed by the caller."""


class RedisServer:
    """A server on a loopback port and a unix socket. Without `persistent`, it forgets on restart.

    Attributes: url, unix_url, port, socket, version, folder. env: what its process gets beside the
    tests' own environment.
    """

    def __init__(
        self, folder: Path, version: str = "redis-7", *options: str, persistent: bool = False
    ) -> None:
        self.version = version
        self.env: dict[str, str] = {}
        self.folder = folder
        self.port = free_port()
        self.socket = folder / "redis.sock"
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.unix_url = f"unix://{self.socket}?db=0"
        self._command = [
            binary_of(version),
            *("--bind", "127.0.0.1", "--port", str(self.port)),
            *("--unixsocket", str(self.socket), "--dir", str(folder), "--save", ""),
            *("--appendonly", "yes" if persistent else "no", "--appendfsync", "no"),
            *options,
        ]
        self._process: RunningProcess | None = None

    def start(self, *options: str) -> Self:
        """Start it, with more options for this time, and wait until it answers."""
        self._process = process = RunningProcess([*self._command, *options], env=self.env)
        process.wait_for("[Rr]eady to accept connections")
        return self

    def client(self, **options: Any) -> redis.Redis:
        """A new client, to be closed by the caller (it is a context manager)."""
        return redis.Redis.from_url(self.url, **options)

    def flush(self) -> None:
        """Forget all keys, functions and statistics."""
        with self.client() as client:
            client.flushall()
            client.function_flush("SYNC")
            client.config_resetstat()

    def commands(self) -> dict[str, int]:
        """How often each command was called since the last flush, by its lower-case name."""
        with self.client() as client:
            stats: dict[str, Any] = client.info("commandstats")
        return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}

    @property
    def running(self) -> bool:
        """Whether it was started, and not ended by this."""
        return self._process is not None

    def stop(self) -> None:
        """End it as an operator would. Idempotent."""
        if self._process is not None and self._process.returncode is None:
            self._process.resume()
            self._process.terminate()
        self.close()

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self.close()

    def restart(self) -> None:
        """Stop it, and start it on the same port and socket."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it is there, but doesn't answer."""
        assert self._process is not None
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.signal(signal.SIGCONT)

    def close(self) -> None:
        """End it at once. Idempotent."""
        if self._process is not None:
            self._process.close()
            self._process = None


def length(server: RedisServer, key: str) -> int:
    """LLEN, for predicates."""
    with server.client() as client:
        return int(client.llen(key))


def wait_for_status(server: RedisServer, order_id: str, status: str, queue: str = "orders") -> None:
    """Wait until the order's hash says `status`."""
    with server.client(decode_responses=True) as client:
        eventually(
            lambda: client.hget(f"{{{queue}}}:order:{order_id}", "status") == status,
            what=f"order {order_id} {status}",
        )
