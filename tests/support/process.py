"""Real processes: their output as it comes, their environment, and an end for certain."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.support.eventually import PATIENCE, eventually


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of the worker, and with `extra`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FULFILLMENT_", "OTEL_")) and name != "REDIS_URL"
    }
    return kept | {"PYTHONUNBUFFERED": "1"} | dict(extra or {})


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_cli(
    *arguments: str,
    stdin: str | bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run `fulfillment-worker ARGUMENTS…` to its end; its output is text."""
    done = subprocess.run(
        [sys.executable, "-m", "fulfillment_worker", *arguments],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env=environment(env),
        cwd=cwd,
        timeout=timeout,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


class RunningProcess:
    """A process in a session of its own, whose output (stdout and stderr) is kept line by line.

    lines, and when each came, in seconds of CLOCK_MONOTONIC: its own clock may be wrong.
    As a context manager, it ends the process and all that it started, by SIGKILL if need be.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.lines: list[str] = []
        self.came: list[float] = []
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.came.append(time.monotonic())
            self.lines.append(line.decode(errors="replace").rstrip("\n"))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait_for(self, pattern: str, *, deadline: float = PATIENCE) -> re.Match[str]:
        """The first match of `pattern` in the output; fails at once when the process has ended."""

        def seen() -> re.Match[str] | None:
            ended = self.returncode is not None
            if ended:
                self._reader.join(PATIENCE)
            match = re.search(pattern, self.output, re.MULTILINE)
            if match is None and ended:
                raise RuntimeError(f"exit {self.returncode} before {pattern!r}:\n{self.output}")
            return match

        try:
            match = eventually(seen, deadline=deadline, what=f"{pattern!r} in the output")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None
        assert match is not None
        return match

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self.wait()

    def terminate(self, *, timeout: float = PATIENCE) -> int:
        """SIGTERM, and the exit code."""
        self._process.terminate()
        return self.wait(timeout)

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit code; fails with the output when the process doesn't end in time."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:g} s:\n{self.output}") from None
        self._reader.join(PATIENCE)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it and all that it started. Idempotent."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(10)
        self._reader.join(PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()
