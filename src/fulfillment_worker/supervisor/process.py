"""One child, as its supervisor knows it: from its start to its end."""

from __future__ import annotations

import asyncio
import pickle
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.supervisor.messages import (
    Abort,
    Hello,
    Loaded,
    Look,
    Refused,
    Report,
    Start,
    Stop,
    ToChild,
    framed,
    receive,
)
from fulfillment_worker.system.signals import SHOW_THREADS, held_back

_PROGRAM = "fulfillment_worker.supervisor.child"
_FINAL_OUTPUT = 1.0
"""Seconds after its end in which what a process said before is still read."""


class NotStarted(Exception):  # the message is one line for people
    """The system has no room for another process."""


class NotLoaded(Exception):  # the message is one line for people
    """The process can't work: it could not load the handler, or it ended over that."""


class Child:
    """A worker process in the seat `seat`. Order of calls: `start`, `loaded`, `begin`, `ended`.

    on_report: called with the child after each report. report: the last one.
    hung: set when it is to be killed for that. refusal: why its handler can never work, if it said
    so: when it was loaded, or when its resources were made.
    """

    def __init__(self, seat: str, on_report: Callable[[Child, Report], None]) -> None:
        self.seat = seat
        self.report: Report | None = None
        self.refusal: str | None = None
        self.stopping = self.hung = False
        self.exhausted: asyncio.Event = asyncio.Event()
        self._on_report = on_report
        self._begun: float | None = None
        self._loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._process: asyncio.subprocess.Process
        self._writer: asyncio.StreamWriter
        self._listening: asyncio.Task[None]

    async def start(self, settings: Settings) -> None:
        """Start it, as a fresh interpreter. Raises NotStarted."""
        try:
            await self._start()
        except (OSError, RuntimeError, MemoryError) as error:
            # RuntimeError: no thread can be had that waits for its end.
            raise NotStarted(f"a process can't be started: {error}") from error
        self._say(Hello(self.seat, pickle.dumps(settings)))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def begun(self) -> bool:
        """Whether it was told to consume."""
        return self._begun is not None

    @property
    def lived(self) -> float:
        """Seconds since it was told to consume; 0 before."""
        return 0.0 if self._begun is None else time.monotonic() - self._begun

    @property
    def exit_code(self) -> int | None:
        """Negative for a signal; None while it runs."""
        return self._process.returncode

    async def loaded(self) -> None:
        """Wait until it has loaded the handler. Raises NotLoaded."""
        await asyncio.shield(self._loaded)

    def begin(self, redis_url: RedisUrl) -> None:
        """Let it consume."""
        self._begun = time.monotonic()
        self._say(Start(pickle.dumps(redis_url)))

    def look(self) -> None:
        """Tell it that orders were put back."""
        self._say(Look())

    def stop(self) -> None:
        """Let it drain. One that holds nothing yet is ended at once."""
        self.stopping = True
        if self.begun:
            self._say(Stop())
        else:
            self.kill()

    def abort(self) -> None:
        """Let it cut short what it runs."""
        self.stopping = True
        self._say(Abort())

    def show_threads(self) -> None:
        """Have it write to stderr where each of its threads is, though it hangs."""
        with suppress(ProcessLookupError):
            self._process.send_signal(SHOW_THREADS)

    def kill(self) -> None:
        """SIGKILL; nothing where it has ended."""
        self.stopping = True
        with suppress(ProcessLookupError):
            self._process.kill()

    async def ended(self) -> int:
        """Wait for its end; returns the exit code, when all that it said has been heard."""
        code = await self._process.wait()
        await asyncio.wait({self._listening}, timeout=_FINAL_OUTPUT)
        self._listening.cancel()
        self._writer.close()
        if not self._loaded.done():
            self._loaded.set_exception(NotLoaded(_exit_description(code)))
            self._loaded.exception()  # nobody needs to ask
        return code

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, held_back():
            reader, self._writer = await asyncio.open_connection(sock=ours)
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", _PROGRAM, str(theirs.fileno())),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                )
            except BaseException:
                self._writer.close()
                raise
        self._listening = asyncio.create_task(self._listen(reader))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while message := await receive(reader):
            self._hear(message)

    def _hear(self, message: Loaded | Refused | Report) -> None:
        match message:
            case Report():
                self.report = message
                self._on_report(self, message)
            case Loaded():
                self._loaded.set_result(None)
            case Refused(why=why):
                self.refusal = why
                if not self._loaded.done():
                    self._loaded.set_exception(NotLoaded(why))
                    self._loaded.exception()

    def _say(self, message: ToChild) -> None:
        if not self._writer.is_closing():
            self._writer.write(framed(message))


def _exit_description(code: int) -> str:
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"the process ended with {how} while it loaded the handler"
