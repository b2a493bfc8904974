"""Dead letters on the command line: listed, shown, retried, dropped, and never by mistake."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import pytest

from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.admin.rules.causes import DeadLetter
from fulfillment_worker.admin.whereabouts import Failure
from fulfillment_worker.cli import dead, pause, resume, selection
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.exchange import QueueUnavailable
from tests.unit.admin.test_causes import letter
from tests.unit.cli.conftest import Run

ESCAPE = b'{"order_id": "A-1", "x": "\x1b[31m\n"}'


class FakeOperator:
    """Dead letters in a dict. confirm: so many are done before Redis is gone."""

    def __init__(self, letters: dict[DeadLetter, bytes]) -> None:
        self.dead = letters
        self.retried: list[int] = []
        self.dropped: list[int] = []
        self.paused = False
        self.confirm = 1000
        self.known = True
        self.asked: list[object] = []
        self.others: dict[str, FakeOperator] = {}

    queue = "orders"

    async def is_known(self) -> bool:
        return self.known

    async def letter(self, number: int) -> DeadLetter | None:
        self.asked.append(number)
        return next((each for each in self.dead if each.number == number), None)

    async def letters(self, order_ids: Collection[str] = ()) -> AsyncIterator[DeadLetter]:
        self.asked.append(set(order_ids))
        for each in self.dead:
            if not order_ids or each.order_id in order_ids:
                yield each

    async def read(self, number: int) -> bytes | None:
        return next((raw for each, raw in self.dead.items() if each.number == number), None)

    async def history(self, order_id: str) -> tuple[list[Failure], str]:
        return [Failure(1, 5, f"{order_id} failed")], "Traceback:\n  \x1b[2J"

    async def retry_dead(
        self, numbers: Sequence[int], advance: Callable[..., object], order_id: str = ""
    ) -> None:
        self._move(numbers, self.retried, advance)

    async def drop_dead(
        self, numbers: Sequence[int], advance: Callable[..., object], order_id: str = ""
    ) -> None:
        self._move(numbers, self.dropped, advance)

    def _move(
        self, numbers: Sequence[int], where: list[int], advance: Callable[..., object]
    ) -> None:
        done = list(numbers[: self.confirm])
        where += done
        advance(done)
        if len(done) < len(numbers):
            raise QueueUnavailable("Redis is gone")

    async def pause(self) -> bool:
        was, self.paused = self.paused, True
        return not was

    async def resume(self) -> bool:
        was, self.paused = self.paused, False
        return was


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> FakeOperator:
    """Three letters of two causes, the third without an id."""
    rubbish = letter(3, order_id="", reason="invalid", error="not JSON", size=2)
    fake = FakeOperator({letter(1): ESCAPE, letter(2): b'{"order_id": "A-2"}', rubbish: b"\xff\n"})

    @asynccontextmanager
    async def operators(settings: Settings, *_: object) -> AsyncIterator[dict[str, FakeOperator]]:
        yield {"orders": fake, **fake.others}

    for module in (dead, pause, resume, selection):
        monkeypatch.setattr(module, "operators", operators)
    monkeypatch.setattr(Operator, "retry_dead", FakeOperator.retry_dead)
    monkeypatch.setattr(Operator, "drop_dead", FakeOperator.drop_dead)
    return fake


GROUP = letter(1).cause.name(4)


def test_the_list_is_of_groups(cli: Run, operator: FakeOperator) -> None:
    head, first, second = cli("dead", "list").stdout.splitlines()
    assert head.split() == ["GROUP", "QUEUE", "COUNT", "NEWEST", "OLDEST", "EXAMPLE", "ERROR"]
    assert first.split()[:3] == [GROUP, "orders", "2"]
    assert first.endswith("A-2      no such SKU")
    assert second.endswith("-        not JSON")


def test_programs_get_groups_or_letters(cli: Run, operator: FakeOperator) -> None:
    groups = json.loads(cli("dead", "list", "--json").stdout)
    assert [group["count"] for group in groups] == [2, 1]
    assert groups[0]["group"] == GROUP
    letters = json.loads(cli("dead", "list", "--all", "--json").stdout)
    assert [each["number"] for each in letters] == [1, 2, 3]
    assert letters[0]["group"] == GROUP


def test_a_group_can_be_listed(cli: Run, operator: FakeOperator) -> None:
    result = cli("dead", "list", "--group", GROUP)
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 3)
    assert cli("dead", "list", "--group", "rejected-none").exit_code == 1


def test_nothing_to_list_is_said(cli: Run, operator: FakeOperator) -> None:
    operator.dead.clear()
    assert cli("dead", "list").stdout == "no dead letters\n"
    assert cli("dead", "list", "--all").stdout == "no dead letters\n"
    assert cli("dead", "list", "--json").stdout == "[]\n"


def test_a_letter_is_shown_without_steering_the_terminal(cli: Run, operator: FakeOperator) -> None:
    result = cli("dead", "show", "A-1")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert result.stdout.splitlines()[-1] == '{"order_id": "A-1", "x": "\\x1b[31m\\n"}'
    assert "A-1 failed" in result.stdout
    assert "  Traceback:\n    \\x1b[2J\n" in result.stdout
    assert cli("dead", "show", "3").stdout.splitlines()[-1] == "\\xff\\n"


def test_raw_bytes_are_exact(cli: Run, operator: FakeOperator) -> None:
    assert cli("dead", "show", "A-1", "--raw").stdout_bytes == ESCAPE
    assert cli("dead", "show", "letter:3", "--raw").stdout_bytes == b"\xff\n"


def test_programs_get_bytes_as_text_or_base64(cli: Run, operator: FakeOperator) -> None:
    text, rubbish = json.loads(cli("dead", "show", "1", "3", "--json").stdout)
    assert text["body"] == ESCAPE.decode()
    assert base64.b64decode(rubbish["body_base64"]) == b"\xff\n"
    assert text["traceback"] == "Traceback:\n  \x1b[2J"
    assert (rubbish["history"], rubbish["traceback"]) == ([], None)


def test_a_letter_that_is_not_there_is_exit_1(cli: Run, operator: FakeOperator) -> None:
    result = cli("dead", "show", "A-1", "A-9")
    assert result.exit_code == 1
    assert "'A-9' is no dead letter" in result.stderr
    assert "A-1" in result.stdout


@pytest.mark.parametrize(
    ("args", "fault"),
    [
        (["show"], "Missing argument"),
        (["show", GROUP, "--raw"], "--raw is for one letter, and 2 were named"),
        (["show", "1", "--raw", "--json"], "give one of them"),
        (["retry"], "nothing is selected"),
        (["drop", "--dry-run"], "nothing is selected"),
        (["drop", "A-1", "--all"], "give one of them"),
        (["drop", "--reason", "boredom"], "boredom"),
    ],
)
def test_wrong_usage_is_exit_2_and_touches_nothing(
    cli: Run, operator: FakeOperator, args: list[str], fault: str
) -> None:
    result = cli("dead", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert fault in result.stderr
    assert operator.retried == operator.dropped == []


def test_an_ambiguous_name_is_refused(cli: Run, operator: FakeOperator) -> None:
    operator.dead[letter(4, order_id="1")] = b"{}"
    result = cli("dead", "drop", "1", "A-2")
    assert result.exit_code == 2
    assert "'letter:1', 'order:1'" in result.stderr
    assert operator.dropped == []
    assert cli("dead", "drop", "order:1").exit_code == 0
    assert operator.dropped == [4]


def test_a_number_of_two_queues_asks_for_the_queue(cli: Run, operator: FakeOperator) -> None:
    operator.others["express"] = FakeOperator({letter(1, queue="express"): b"{}"})
    result = cli("dead", "drop", "letter:1")
    assert result.exit_code == 2
    assert "--queue" in result.stderr


@pytest.mark.parametrize(
    ("args", "numbers"),
    [
        (["A-1"], [1]),
        ([GROUP], [1, 2]),
        (["3", "A-2"], [2, 3]),
        (["--all"], [1, 2, 3]),
        (["--reason", "invalid"], [3]),
        (["--reason", "invalid", "3", "A-1"], [3]),
        (["--reason", "orphaned"], []),
    ],
)
def test_the_selected_are_retried(
    cli: Run, operator: FakeOperator, args: list[str], numbers: list[int]
) -> None:
    result = cli("dead", "retry", *args)
    assert (result.exit_code, operator.retried) == (0, numbers)
    assert result.stdout.startswith(f"retried {len(numbers)} dead letter")


def test_a_dry_run_tells_and_does_nothing(cli: Run, operator: FakeOperator) -> None:
    result = cli("dead", "drop", "--all", "--dry-run")
    assert result.stdout.splitlines()[0] == "would drop 3 dead letters"
    assert GROUP in result.stdout
    told = json.loads(cli("dead", "drop", GROUP, "--dry-run", "--json").stdout)
    assert (told["dropped"], told["dry_run"], len(told["letters"])) == (0, True, 2)
    assert operator.dropped == []


def test_the_rest_is_done_where_one_is_missing(cli: Run, operator: FakeOperator) -> None:
    result = cli("dead", "drop", "A-9", "A-1", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["dropped"], told["missing"]) == (1, ["A-9"])
    assert operator.dropped == [1]


def test_a_death_of_redis_midway_tells_how_many_are_certain(
    cli: Run, operator: FakeOperator
) -> None:
    operator.confirm = 2
    result = cli("dead", "retry", "--all")
    assert result.exit_code == 1
    assert "Redis is gone" in result.stderr
    assert "2 of 3 dead letters were certainly retried" in result.stderr


def test_a_letter_that_went_meanwhile_is_told(
    cli: Run, operator: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(Operator, "drop_dead", nothing)
    result = cli("dead", "drop", "A-1")
    assert (result.exit_code, result.stdout) == (1, "dropped 0 dead letters\n")
    assert "gone by now" in result.stderr


def test_a_redis_that_is_not_there_changes_nothing(cli: Run) -> None:
    result = cli("dead", "retry", "--all", "--redis-url", "unix:///nowhere/redis.sock")
    assert result.exit_code == 1
    assert "unix:///nowhere/redis.sock" in result.stderr


def test_pausing_says_what_it_means_and_may_be_repeated(cli: Run, operator: FakeOperator) -> None:
    first, means = cli("pause").stdout.splitlines()
    assert first == "orders is paused"
    assert "claim nothing more" in means
    assert "orders is paused already" in cli("pause").stdout
    assert json.loads(cli("pause", "--json").stdout) == [
        {"queue": "orders", "paused": True, "changed": False}
    ]


def test_resuming_may_be_repeated(cli: Run, operator: FakeOperator) -> None:
    operator.paused = True
    assert cli("resume").stdout == "orders is open\n"
    assert cli("resume").stdout == "orders is open already\n"
    assert json.loads(cli("resume", "--json").stdout) == [
        {"queue": "orders", "paused": False, "changed": False}
    ]


@pytest.mark.parametrize("command", ["show", "retry", "drop"])
def test_a_letter_named_by_its_number_is_the_only_one_that_is_read(
    cli: Run, operator: FakeOperator, command: str
) -> None:
    assert cli("dead", command, "letter:2").exit_code == 0
    assert operator.asked == [2]


def test_letters_named_by_order_ids_are_looked_for_and_no_others(
    cli: Run, operator: FakeOperator
) -> None:
    assert cli("dead", "retry", "A-2", "order:A-1").exit_code == 0
    assert operator.asked == [{"A-1", "A-2"}]
    assert sorted(operator.retried) == [1, 2]


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_pause_and_resume_refuse_a_queue_that_was_never_used(
    cli: Run, operator: FakeOperator, command: str
) -> None:
    operator.known = False
    done = cli(command)
    assert done.exit_code == 1
    assert "there is no queue 'orders'" in done.stderr
    assert not operator.paused


def test_pause_new_pauses_a_queue_before_its_first_order(cli: Run, operator: FakeOperator) -> None:
    operator.known = False
    assert cli("pause", "--new").exit_code == 0
    assert operator.paused
    assert cli("resume").exit_code == 0


def test_dead_list_warns_of_a_queue_that_was_never_used(cli: Run, operator: FakeOperator) -> None:
    operator.known = False
    done = cli("dead", "list", "--json")
    assert done.exit_code == 0
    assert "there is no queue 'orders'" in done.stderr
    assert json.loads(done.stdout)
