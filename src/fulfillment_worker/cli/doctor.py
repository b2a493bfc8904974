"""`fulfillment-worker doctor`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

import click
import msgspec

from fulfillment_worker.admin.gather import gather
from fulfillment_worker.admin.rules.diagnosis import Check, examine
from fulfillment_worker.admin.rules.facts import Facts
from fulfillment_worker.admin.rules.findings import Finding, Severity
from fulfillment_worker.cli.options import own_option, settings_options
from fulfillment_worker.cli.terminal import coloured, print_json
from fulfillment_worker.config.settings import SPECS, Settings
from fulfillment_worker.config.values import Duration
from fulfillment_worker.core.text import visible
from fulfillment_worker.observability.listening import listen
from fulfillment_worker.queue.library import LIBRARY
from fulfillment_worker.queue.redis_queue import QueuePolicy

_HANDLER_PATIENCE = 8.0
"""Seconds in which a handler should be loaded; they pass while Redis is asked."""

_MARKS = {
    Severity.PROBLEM: ("✗", "x", "red"),
    Severity.WARNING: ("!", "!", "yellow"),
    Severity.NOTE: ("-", "-", "cyan"),
}
_PASSED = ("✓", "+", "green")

Examined = list[tuple[Check, list[Finding] | None]]


def _print_functions(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(LIBRARY.text, nl=False)
        context.exit()


@click.command()
@own_option(
    "--orchestrator-grace",
    Duration("0", "1d"),
    None,
    "how long what stops the worker waits before it kills it; Kubernetes waits 30s by itself",
)
@click.option("--json", "as_json", is_flag=True, help="print the findings as JSON")
@click.option(
    "--print-functions",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_functions,
    help="print the library of functions that workers load into Redis, and check nothing",
)
@settings_options(*SPECS)
def doctor(settings: Settings, orchestrator_grace: float | None, as_json: bool) -> int:
    """Check Redis, permissions, clocks and settings, and say what to do.

    Takes the flags of `run`, and checks what they say. Exits 1 if there is a problem; warnings and
    notes are no problem. It takes 20 seconds at most, and touches no order.

    \b
    Examples:
      fulfillment-worker doctor
      fulfillment-worker doctor --handler shop:fulfil --orchestrator-grace 40s
      fulfillment-worker doctor --redis-url rediss://redis.example:6380/0 --json
      fulfillment-worker doctor --print-functions | redis-cli -x FUNCTION LOAD
    """
    examined = examine(_facts(settings, orchestrator_grace))
    if as_json:
        print_json(_fields(examined))
    else:
        click.echo("\n".join(line for lines in map(_lines, examined) for line in lines))
        click.echo(_summary(_found(examined)))
    return 1 if _problems(_found(examined)) else 0


def _facts(settings: Settings, orchestrator_grace: float | None) -> Facts:
    with tempfile.TemporaryFile() as output:
        loading = _Loading(settings.handler, output) if settings.handler else None
        redis = asyncio.run(gather(settings.redis_url, settings.queues, _policy(settings)))
        return Facts(
            redis=redis,
            lease=settings.lease,
            order_timeout=settings.order_timeout,
            shutdown_grace=settings.shutdown_grace,
            orchestrator_grace=orchestrator_grace,
            max_order_bytes=settings.max_order_bytes,
            handler_fault=loading.fault() if loading else None,
            port=settings.metrics_port,
            port_fault=_port_fault(settings.metrics_host, settings.metrics_port),
        )


def _policy(settings: Settings) -> QueuePolicy:
    return QueuePolicy(
        lease=round(settings.lease * 1000),
        status_ttl=round(settings.status_ttl * 1000),
        events_ttl=round(settings.events_ttl * 1000),
        max_orphanings=settings.max_orphanings,
        id_field=settings.id_field,
        max_order_bytes=settings.max_order_bytes,
    )


def _port_fault(host: str, port: int) -> str:
    try:
        for sock in listen(host, port):
            sock.close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


class _Loading:
    """Loads the handler in a process of its own: the shop's code may hang, print, or end it."""

    # The spec goes by standard input, since a URL may hold a password, and arguments can be seen.
    _CODE = """
import os, sys
from fulfillment_worker.handlers.errors import HandlerError
from fulfillment_worker.handlers.loader import load
fault = ""
try:
    load(sys.stdin.read(), order_timeout=60.0)
except HandlerError as error:
    fault = str(error)
os.write(1, b"\\n" + fault.encode(errors="backslashreplace"))
os._exit(0)
"""

    def __init__(self, spec: str, output: IO[bytes]) -> None:
        """output: an empty file, for what the process says."""
        self._output = output
        self._ends = time.monotonic() + _HANDLER_PATIENCE
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._CODE],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(spec.encode())

    def fault(self) -> str:
        """Why the handler can't be loaded; "" where it can."""
        try:
            code = self._process.wait(max(0.1, self._ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return f"it isn't there after {_HANDLER_PATIENCE:g} s"
        self._output.seek(0)
        said = self._output.read().rpartition(b"\n")
        if code != 0 or not said[1]:
            return f"loading it ended the process (exit code {code})"
        return said[2].decode(errors="backslashreplace")


def _found(examined: Examined) -> list[Finding]:
    return [finding for _, found in examined for finding in found or ()]


def _problems(found: list[Finding]) -> int:
    return sum(finding.severity is Severity.PROBLEM for finding in found)


def _fields(examined: Examined) -> object:
    found = _found(examined)
    return {
        "ok": not _problems(found),
        "passed": [check.name for check, findings in examined if findings == []],
        "skipped": [check.name for check, findings in examined if findings is None],
        "findings": msgspec.to_builtins(found),
    }


def _lines(examined: tuple[Check, list[Finding] | None]) -> Iterator[str]:
    check, findings = examined
    if findings == []:
        yield f"{_mark(*_PASSED)} {check.passed}"
    for finding in findings or ():
        yield f"{_mark(*_MARKS[finding.severity])} {coloured(visible(finding.what), bold=True)}"
        yield f"    {visible(finding.means)}"
        yield f"    {visible(finding.mend)}"


def _mark(mark: str, plain: str, colour: str) -> str:
    """plain: for a terminal that doesn't know the other."""
    try:
        mark.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        mark = plain
    return coloured(mark, fg=colour)


def _summary(found: list[Finding]) -> str:
    counts = [(sum(f.severity is each for f in found), each) for each in Severity]
    told = ", ".join(f"{count} {each}{'' if count == 1 else 's'}" for count, each in counts)
    lasting = any("CONFIG SET" in finding.mend for finding in found)
    hint = "\nCONFIG SET lasts until Redis restarts: put it into redis.conf as well"
    return f"\n{told}{hint if lasting else ''}"
