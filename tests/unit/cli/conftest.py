"""Commands run in this process, on a Redis that is none."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from click.testing import CliRunner, Result

from fulfillment_worker.cli import clients
from fulfillment_worker.cli.main import main
from fulfillment_worker.config.redis_url import RedisUrl
from tests.unit.cli.fake_redis import FakeRedis

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("FULFILLMENT_") or name in {"REDIS_URL", "NO_COLOR"}:
            monkeypatch.delenv(name)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRedis:
    """The Redis that commands find."""
    redis = FakeRedis()

    @asynccontextmanager
    async def connected(url: RedisUrl) -> AsyncIterator[FakeRedis]:
        yield redis

    monkeypatch.setattr(clients, "connected", connected)
    return redis


@pytest.fixture
def cli() -> Run:
    """Runs a command line, as `cli("queue", "--json", input=b"...")`."""

    def run(*args: str, input: bytes | str | None = None) -> Result:
        return CliRunner().invoke(main, args, input=input)

    return run
