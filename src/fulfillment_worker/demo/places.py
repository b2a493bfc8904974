"""Where to look at a running demo, and how to take part in it from another shell."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

import msgspec

from fulfillment_worker.config.settings import Settings

_PROGRAM = "fulfillment-worker"

Command = tuple[str, ...]
"""A shell command, in parts between which a line may end."""


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """named: what there is, and where. commands: that place an order."""

    named: tuple[tuple[str, str], ...]
    commands: tuple[Command, ...]


def places(settings: Settings, port: int, socket: str, console: str = "") -> Places:
    """The places of a demo whose metrics are on `port`, and whose Redis is at `socket`.

    console: where it is, "" where there is none.
    """
    site = f"http://{_host(settings.metrics_host)}:{port}"
    enqueue = f"{_program()} enqueue"
    embedded = f"--redis-url {shlex.quote(f'embedded:{_folder(settings)}')}"
    return Places(
        named=(
            *((("console", console),) if console else ()),
            ("metrics", f"{site}/metrics"),
            ("health", f"{site}/health   and /livez, /readyz"),
            ("redis", socket),
            ("log", str(log_path(settings))),
        ),
        commands=(
            _place_one(settings, socket) or (f"echo {_one(settings)} |", enqueue, f"{embedded} -"),
            (enqueue, embedded, "--sample 10"),
        ),
    )


def log_path(settings: Settings) -> Path:
    """Where the worker's log goes: standard error would be in the way of the view."""
    return _folder(settings) / "worker.log"


def lines_of(command: Command, width: int) -> list[str]:
    """The command in lines of up to `width` where that can be, which a shell takes as one."""
    if len(" ".join(command)) <= width:
        return [" ".join(command)]
    lines: list[str] = []
    for part in command:
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(f"  {part}" if lines else part)
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def _folder(settings: Settings) -> Path:
    path = Path(settings.redis_url.path)
    try:
        return path.expanduser().absolute()
    except RuntimeError:  # no such user: a folder of that name, then
        return path.absolute()


def _host(host: str) -> str:
    if host in ("", "*", "0.0.0.0", "::"):
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _one(settings: Settings) -> str:
    return shlex.quote(json.dumps({settings.id_field: "mine-1"}))


def _place_one(settings: Settings, socket: str) -> Command | None:
    """With a client that is installed here, as any producer would: the server brings none."""
    for client in ("redis-cli", "valkey-cli"):
        if shutil.which(client):
            push = f"LPUSH {shlex.quote(settings.queues[0])} {_one(settings)}"
            return f"{client} -s {shlex.quote(socket)}", push
    return None


def _program() -> str:
    """How this program was called, in a way that works in another shell."""
    if shutil.which(_PROGRAM):
        return _PROGRAM
    called = Path(sys.argv[0])
    if called.name == _PROGRAM:
        return shlex.quote(str(called.absolute()))
    return f"{shlex.quote(sys.executable)} -m fulfillment_worker"
