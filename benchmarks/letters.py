"""A hundred thousand dead letters: how long `dead show`, `retry` and `drop` of one of them take.

    .venv/bin/python -m benchmarks.letters [--letters N] [--rounds N]

The letters are made by a worker whose handler rejects all orders. Each command names its letter by
number, and then by the order's id; `dead list`, which reads all letters, is beside them. The time
that Redis was busy with the slowest command is from its slow log.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.kit import orders
from benchmarks.kit.figures import Figures, Report, table
from benchmarks.kit.ground import Ground, ground
from benchmarks.kit.runs import arguments
from benchmarks.kit.subject import Ours, Work
from tests.support.eventually import eventually
from tests.support.process import run_cli

_COMMANDS = ("show", "retry", "drop", "show by id", "retry by id", "drop by id", "list")
_AT_ONCE = 1000
_DEADLINE = 300.0


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print."""
    report = Report("letters")
    told = arguments("letters", given, letters=100_000, rounds=3)
    with ground() as here:
        _bury(here, told.letters)
        here.client.config_set("slowlog-log-slower-than", 1000)
        here.client.slowlog_reset()
        found: dict[str, list[float]] = {name: [] for name in _COMMANDS}
        for turn in range(told.rounds):
            for name, times in found.items():
                times.append(_time(here, name, 100 + 10 * turn))
        slowest = max((each["duration"] for each in here.client.slowlog_get(1000)), default=0)
    rows = [[f"dead {name}", Figures(tuple(each)).shown(2)] for name, each in found.items()]
    report.tell(table([f"of {told.letters:,} letters", "seconds"], rows))
    report.tell(f"the slowest command kept Redis busy for {slowest / 1000:.1f} ms")
    report.save({"letters": told.letters, "seconds": found, "slowest_us": slowest})


def _bury(here: Ground, many: int) -> None:
    orders.fill(here.client, many)
    with Ours(options=("--breaker", "off")).start(here, Work("reject", many, _AT_ONCE)):
        eventually(
            lambda: here.client.hlen("{orders}:dead") == many, deadline=_DEADLINE, what="all dead"
        )


def _time(here: Ground, what: str, first: int) -> float:
    """Of one command. first: the number of a letter that is there, as are some after it."""
    verb, _, by_id = what.partition(" by ")
    number = first + ["show", "retry", "drop", "list"].index(verb) + (5 if by_id else 0)
    names = [] if verb == "list" else [_named(here, number) if by_id else f"letter:{number}"]
    started = time.monotonic()
    done = run_cli("dead", verb, *names, "--redis-url", here.server.url)
    took = time.monotonic() - started
    if done.returncode:
        raise SystemExit(done.stderr)
    return took


def _named(here: Ground, number: int) -> str:
    letter = here.client.hget("{orders}:dead", str(number))
    assert isinstance(letter, bytes)
    return letter.partition(b'"order_id":"')[2].partition(b'"')[0].decode()


if __name__ == "__main__":
    main()
