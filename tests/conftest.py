"""What every test may ask for. The helpers themselves are in tests/support."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.prometheus import PrometheusServer
from tests.support.redis_server import VERSIONS, RedisServer
from tests.support.worker import FULFIL_ALL, RunningWorker

# How long an example takes says more about the machine than about the code.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

# What nohup or a script in the background ignores would be ignored by all that the tests start.
for each in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(each) is signal.SIG_IGN:
        signal.signal(each, signal.SIG_DFL)


# What their processes run is measured in the other tests, too, at a third of the time here.
UNMEASURED = {"chaos", "fuzz", "kubernetes", "monitoring", "replacements", "test_benchmarks.py"}


@pytest.fixture(autouse=True)
def coverage_of_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage is for the processes of those tests that are quick enough with it."""
    if not UNMEASURED.isdisjoint(request.path.parts):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture(scope="session")
def redis_servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], RedisServer]]:
    """One server of each version for the whole session, each started when first asked for."""
    running: dict[str, RedisServer] = {}

    def get(version: str) -> RedisServer:
        if version not in running:
            folder = tmp_path_factory.mktemp(version, numbered=True)
            running[version] = RedisServer(folder, version).start()
        return running[version]

    yield get
    for server in running.values():
        server.stop()


@pytest.fixture(params=VERSIONS)
def redis_server(
    request: pytest.FixtureRequest, redis_servers: Callable[[str], RedisServer]
) -> RedisServer:
    """An empty server; the test runs once on Valkey 9 and once on Redis 7."""
    server = redis_servers(request.param)
    server.flush()
    return server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty server; the test runs once on Valkey 9 and once on Redis 7."""
    return redis_server.url


@pytest.fixture
def redis_7(redis_servers: Callable[[str], RedisServer]) -> RedisServer:
    """An empty Redis 7."""
    server = redis_servers("redis-7")
    server.flush()
    return server


@pytest.fixture
def valkey_9(redis_servers: Callable[[str], RedisServer]) -> RedisServer:
    """An empty Valkey 9."""
    server = redis_servers("valkey-9")
    server.flush()
    return server


@pytest.fixture
def new_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Makes servers to stop, pause and kill: `new_redis("redis-7", persistent=True)`."""
    with ExitStack() as stack:

        def make(version: str = "redis-7", *options: str, persistent: bool = False) -> RedisServer:
            folder = tmp_path / f"redis-{len(made)}"
            folder.mkdir()
            server = RedisServer(folder, version, *options, persistent=persistent)
            made.append(server)
            stack.callback(server.close)
            return server.start()

        made: list[RedisServer] = []
        yield make


@pytest.fixture
def run_worker(tmp_path: Path) -> Iterator[Callable[..., RunningWorker]]:
    """Starts workers, as RunningWorker does without its first argument."""
    with ExitStack() as stack:

        def start(
            redis_url: str, handler: str = FULFIL_ALL, *options: str, **more: Any
        ) -> RunningWorker:
            folder = tmp_path / f"worker-{len(started)}"
            worker = RunningWorker(folder, redis_url, handler, options, **more)
            started.append(worker)
            return stack.enter_context(worker)

        started: list[RunningWorker] = []
        yield start


@pytest.fixture
def run_prometheus(tmp_path: Path) -> Iterator[Callable[..., PrometheusServer]]:
    """Starts Prometheus servers, as PrometheusServer does without its first argument."""
    with ExitStack() as stack:

        def start(targets: list[str], **options: Any) -> PrometheusServer:
            server = PrometheusServer(tmp_path / "prometheus", targets, **options)
            return stack.enter_context(server)

        yield start
