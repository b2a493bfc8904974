"""How the queue stands, for people and for programs."""

from __future__ import annotations

import asyncio
import json

import pytest

from fulfillment_worker.cli import queue as command
from fulfillment_worker.cli.terminal import away, coloured
from fulfillment_worker.config.settings import Settings
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_redis import FakeRedis


@pytest.fixture
def busy(fake: FakeRedis) -> FakeRedis:
    """Seven orders, three of them in flight, and two workers of which one was heard long ago."""
    now = fake.now
    fake.lists["orders"] = [b'{"order_id":2}', b'{"order_id":1}']
    fake.lists["{orders}:suspects"] = [b"s"]
    fake.zsets["{orders}:retry"] = {b"r": 1.0}
    fake.zsets["{orders}:leases"] = {b"w-1": now + 5000.0, b"w-2": now - 1.0}
    fake.zsets["{orders}:workers"] = {b"w-1": now - 1000.0, b"idle": now - 59_000.0, b"gone": 1.0}
    fake.hashes["{orders}:in_flight:w-1"] = {b"1": b"x", b"2": b"y"}
    fake.hashes["{orders}:in_flight:w-2"] = {b"1": b"x"}
    fake.hashes["{orders}:dead"] = {b"1": b"d"}
    fake.hashes["{orders}:books"] = {b"received": b"10", b"fulfilled": b"4"} | {
        b"cancelled": b"2",
        b"paused": b"1",
    }
    fake.hashes["{orders}:held"] = {b"9": b"h"}
    fake.zsets["{orders}:arrivals"] = {b"1": 9.0, b"2": 10.0, b"999999940000": 12.0}
    return fake


def test_programs_get_everything(cli: Run, busy: FakeRedis) -> None:
    (answer,) = json.loads(cli("queue", "--json").stdout)
    assert answer == {
        "queue": "orders",
        "at": busy.now,
        "waiting": 2,
        "oldest": 999_999_940_000,
        "in_flight": 3,
        "retrying": 2,
        "scheduled": 0,
        "held": 1,
        "dead": 1,
        "paused": True,
        "received": 10,
        "fulfilled": 4,
        "duplicates": 0,
        "dropped": 0,
        "cancelled": 2,
        "limits": {},
        "used": {"started": 0, "keyed": 0, "parked": 0},
        "workers": [
            {
                "name": "idle",
                "last_heard": busy.now - 59_000,
                "in_flight": 0,
                "breaker_open": False,
            },
            {"name": "w-1", "last_heard": busy.now - 1000, "in_flight": 2, "breaker_open": False},
            {"name": "w-2", "last_heard": None, "in_flight": 1, "breaker_open": False},
        ],
    }


def test_people_get_tables(cli: Run, busy: FakeRedis) -> None:
    lines = cli("queue").stdout.splitlines()
    assert lines[1].split() == ["orders", "paused", "2", "1m", "ago", "3", "2", "0", "1", "1", "3"]
    assert [line.split()[0] for line in lines[4:]] == ["idle", "w-1", "w-2"]
    assert len({len(line) for line in lines[:2]}) == 1


def test_the_oldest_is_as_old_as_it_says(cli: Run, busy: FakeRedis) -> None:
    busy.lists["{orders}:woken"] = [b'{"order_id":0,"enqueued_at":960000000}']
    assert json.loads(cli("queue", "--json").stdout)[0]["oldest"] == 960_000_000_000
    busy.lists["{orders}:woken"] = [b'{"order_id":0,"enqueued_at":2000000000}']
    assert json.loads(cli("queue", "--json").stdout)[0]["oldest"] == busy.now


def test_an_age_that_nobody_noted_is_unknown(cli: Run, fake: FakeRedis) -> None:
    fake.lists["orders"] = [b"\xff"]
    assert "unknown" in cli("queue").stdout
    assert json.loads(cli("queue", "--json").stdout)[0]["oldest"] is None


def test_an_empty_queue_and_each_queue_has_its_line(cli: Run, fake: FakeRedis) -> None:
    lines = cli("queue", "--queue", "express,orders").stdout.splitlines()
    assert [line.split()[:4] for line in lines[1:]] == [
        ["express", "open", "0", "-"],
        ["orders", "open", "0", "-"],
    ]


@pytest.fixture
def _three_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watching is interrupted before the fourth look."""
    rounds = iter(range(2))

    async def pause(seconds: float) -> None:
        assert seconds == 1.0
        if next(rounds, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr("fulfillment_worker.cli.queue.asyncio.sleep", pause)


@pytest.mark.usefixtures("_three_rounds")
def test_watching_repeats_until_ctrl_c(cli: Run, busy: FakeRedis) -> None:
    result = cli("queue", "--watch")
    assert result.exit_code == 0
    assert result.stdout.count("WAITING") == 3


@pytest.mark.usefixtures("_three_rounds")
def test_programs_watch_a_line_at_a_time(cli: Run, busy: FakeRedis) -> None:
    lines = cli("queue", "--watch", "--json").stdout.splitlines()
    assert [json.loads(line)[0]["waiting"] for line in lines] == [2, 2, 2]


def test_a_terminal_is_redrawn(
    busy: FakeRedis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Enough(Exception):
        pass

    async def pause(seconds: float) -> None:
        raise Enough

    monkeypatch.setattr("fulfillment_worker.cli.queue.asyncio.sleep", pause)
    with pytest.raises(Enough):
        asyncio.run(command._redraw(Settings()))
    assert "WAITING" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (100_000_000, "now"),
        (99_999_001, "now"),
        (99_997_000, "3s ago"),
        (99_820_000, "3m ago"),
        (13_599_000, "1d ago"),
        (100_020_000, "in 20s"),
        (107_200_000, "in 2h"),
    ],
)
def test_ages_are_in_their_largest_unit(at: int, text: str) -> None:
    assert away(at, 100_000_000) == text


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert coloured("x", fg="red") == "x"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert coloured("x", fg="red") == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("x", fg="red") == "x"
