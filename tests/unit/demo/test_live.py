"""The demo's view, rendered as text: all there at any size, and nothing out of its line."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from fulfillment_worker.admin.inspector import Overview
from fulfillment_worker.config.redis_url import RedisUrl, Scheme
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.demo.console import console_beside
from fulfillment_worker.demo.live import Moment, picture
from fulfillment_worker.demo.pace import Pace, percentile
from fulfillment_worker.demo.places import lines_of, places
from fulfillment_worker.demo.tally import DemoEvent, DemoSeverity, Tally
from tests.unit.demo.support import fulfilled, rejected

SETTINGS = replace(Settings(), redis_url=RedisUrl(Scheme.EMBEDDED, path="/tmp/demo-x"))
OVERVIEW = Overview(
    queue="orders",
    at=1,
    waiting=17,
    oldest=None,
    in_flight=4,
    retrying=2,
    dead=0,
    paused=False,
    received=0,
    fulfilled=0,
    duplicates=0,
    dropped=0,
    workers=[],
)
MOMENT = Moment(overview=OVERVIEW, per_second=19.96, seconds=12.4, state="running")
DEMO_EVENTS = [
    ("12:00:00", DemoEvent(DemoSeverity.GOOD, f"order A-{number} done")) for number in range(10)
]


def rendered(
    width: int,
    height: int,
    *,
    tally: Tally | None = None,
    moment: Moment = MOMENT,
    demo_events: list[tuple[str, DemoEvent]] = DEMO_EVENTS,
) -> list[str]:
    there = places(SETTINGS, 2112, "/tmp/demo-x/redis.sock")
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(picture(there, tally or Tally(None), moment, demo_events, width, height))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def installed(monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    monkeypatch.setattr(
        "shutil.which", lambda name: f"/usr/bin/{name}" if name in programs else None
    )


@pytest.mark.parametrize("client", ["redis-cli", "valkey-cli"])
@pytest.mark.parametrize("width", [80, 120])
def test_it_says_where_things_are(monkeypatch: pytest.MonkeyPatch, width: int, client: str) -> None:
    installed(monkeypatch, client)
    text = "\n".join(rendered(width, 40))
    assert "http://localhost:2112/metrics" in text
    assert "http://localhost:2112/health" in text
    assert "/tmp/demo-x/redis.sock" in text
    assert "Ctrl-C ends everything" in text
    unbroken = text.replace(" \\\n    ", "")
    push = """LPUSH orders '{"order_id": "mine-1"}'"""
    assert f"{client} -s /tmp/demo-x/redis.sock {push}" in unbroken
    assert "enqueue --redis-url embedded:/tmp/demo-x --sample 10" in unbroken


def test_without_a_redis_client_one_order_is_placed_by_the_program_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed(monkeypatch, "fulfillment-worker")
    text = "\n".join(rendered(160, 40))
    assert (
        """echo '{"order_id": "mine-1"}' | fulfillment-worker enqueue """
        "--redis-url embedded:/tmp/demo-x -" in text
    )


@pytest.mark.parametrize("width", [80, 120])
def test_it_shows_the_figures(width: int) -> None:
    tally = Tally(8)
    tally.placing(["A", "B"])
    tally.placed_all(2)
    tally.observe(fulfilled("A", duration=0.02))
    tally.observe(rejected("B"))
    lines = rendered(width, 40, tally=tally)
    names = next(at for at, line in enumerate(lines) if "placed  waiting  in flight" in line)
    assert lines[names + 1].split() == ["2", "17", "4", "2", "1", "0", "1", "0"]
    assert " 20.0 orders/s    processing: p50 12 ms, p99 20 ms" in lines
    assert any(line.endswith("2 of 8 ended") for line in lines)
    assert "running, 12 s" in lines[0]


def test_while_redis_is_away_the_depths_are_not_known() -> None:
    lines = rendered(
        100, 40, moment=Moment(overview=None, per_second=0, seconds=1, state="running")
    )
    assert any(line.split() == ["0", "?", "?", "?", "0", "0", "0", "0"] for line in lines)
    assert " 0.0 orders/s    processing: p50 -, p99 -" in lines


@pytest.mark.parametrize(("height", "shown"), [(40, 10), (24, 6), (5, 1)])
def test_as_many_happenings_as_fit_the_latest_last(height: int, shown: int) -> None:
    lines = rendered(80, height)
    happened = [line for line in lines if line.startswith(" 12:00:00")]
    assert len(happened) == shown
    assert happened[-1] == lines[-1] == " 12:00:00 ✓ order A-9 done"
    assert len(lines) < height or shown == 1


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_happening_is_one_line_whatever_it_says(width: int) -> None:
    nasty = DemoEvent(DemoSeverity.BAD, "order [red]\x1b[2J\u202e rejected: " + "long " * 100)
    lines = rendered(width, 40, demo_events=[("12:00:00", nasty)])
    assert [line.startswith(" 12:00:00 ✗ order [red]\\x1b[2J") for line in lines].count(True) == 1
    assert lines[-1].endswith("…")
    # The echo of Ctrl-C, two characters, must not begin a new line.
    assert len(lines[-1]) <= width - 2


def test_a_command_is_broken_where_a_shell_takes_it_as_one() -> None:
    command = ("do this", "--with that", "--and more")
    assert lines_of(command, 80) == ["do this --with that --and more"]
    assert lines_of(command, 30) == ["do this --with that --and more"]
    assert lines_of(command, 29) == ["do this --with that \\", "  --and more"]
    assert lines_of(command, 5) == ["do this \\", "  --with that \\", "  --and more"]


@pytest.mark.parametrize(
    ("host", "site"),
    [("", "localhost"), ("0.0.0.0", "localhost"), ("::1", "[::1]"), ("10.1.2.3", "10.1.2.3")],
)
def test_the_metrics_are_where_they_are_served(host: str, site: str) -> None:
    there = places(replace(SETTINGS, metrics_host=host), 8000, "/s")
    assert dict(there.named)["metrics"] == f"http://{site}:8000/metrics"


def test_the_console_is_told_where_there_is_one() -> None:
    assert "console" not in dict(places(SETTINGS, 8000, "/s").named)
    there = places(SETTINGS, 8000, "/s", "http://127.0.0.1:8080/")
    assert there.named[0] == ("console", "http://127.0.0.1:8080/")


async def test_demo_without_the_extra_has_no_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)
    async with console_beside(SETTINGS) as where:
        assert where == ""


def test_what_needs_quotes_in_a_shell_has_them() -> None:
    settings = replace(SETTINGS, queues=("my orders",), id_field="it's")
    push, _ = places(settings, 1, "/a b/s").commands
    assert push[0].endswith("-s '/a b/s'")
    assert push[1] == """LPUSH 'my orders' '{"it'"'"'s": "mine-1"}'"""


def test_the_pace_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    assert pace.per_second == 0
    for second in range(10):
        pace.note(float(second), 100 * second if second < 5 else 400 + 20 * (second - 4))
    assert pace.per_second == 20


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([3.0], 0.01) == 3
    assert percentile([], 0.5) is None
