"""`fulfillment-worker dead retry` with --first or --rate: step by step."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import click
import msgspec

from fulfillment_worker.admin.operator import Noted, Operator
from fulfillment_worker.admin.rules.causes import DeadLetter, grouped
from fulfillment_worker.admin.rules.pacing import (
    Course,
    First,
    Pace,
    firsts,
    parted,
    seconds_for,
)
from fulfillment_worker.cli.clients import ask, operators
from fulfillment_worker.cli.letters import group_lines, letter_fields
from fulfillment_worker.cli.progress import progress
from fulfillment_worker.cli.selection import Chosen
from fulfillment_worker.cli.terminal import complain, print_json
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.limits import Rate
from fulfillment_worker.core.text import visible

_LOOK_EVERY = 0.2
_SLOW = 5.0
"""Seconds after which it is said for what the command waits."""
_NOTED_EVERY = 3600.0
_MOST_AT_ONCE = 500


class Plan(msgspec.Struct, frozen=True):
    """What the command is to do. name: of the retry, the same for the same selection."""

    name: str
    first: int
    rate: Rate | None
    by: str | None
    why: str | None

    @property
    def words(self) -> str:
        """How, after how many."""
        first = f"{self.first} first" if self.first else ""
        rest = f"at {self.rate}" if self.rate else "at once"
        return f"{first}, the rest {rest} when fulfilled" if first else rest


class ParsedRate:
    """The value of --rate."""

    allowed = Rate.allowed

    def __call__(self, text: str) -> Rate:
        """From `10/s`. Raises ValueError."""
        return Rate.parse(text)


class _Stopped(Exception):
    """The rest must not follow. The message says why."""


class _Run:
    """One run of the command; it goes on where an earlier one stood.

    letters: those that are part of it, the first first, and are still there. newer: how many died
    since it began, and are not part of it. done: what Redis confirmed. stopped: why it ended early.
    """

    def __init__(self, plan: Plan, letters: Sequence[DeadLetter]) -> None:
        self.plan = plan
        self.letters = list(letters)
        self.newer = 0
        self.resumed = False
        self.done: set[tuple[str, int]] = set()
        self.first: list[str] = []
        self.stopped = ""
        self.courses: dict[str, Course] = {}
        self._noted: dict[str, Noted] = defaultdict(Noted)
        self._kept_at = 0.0
        self._only = letters[0].order_id if len(letters) == 1 else ""

    async def prepare(self, each: dict[str, Operator]) -> None:
        """Find out where the retry stands, and what is part of it."""
        by_queue: dict[str, list[DeadLetter]] = defaultdict(list)
        for letter in self.letters:
            by_queue[letter.queue].append(letter)
        part: set[tuple[str, int]] = set()
        for queue, operator in each.items():
            course = (await operator.courses()).get(self.plan.name)
            here = by_queue[queue]
            self.resumed = self.resumed or course is not None
            if course is None and here:
                course = Course(max(letter.number for letter in here))
            if course is not None:
                self.courses[queue] = course
                letters, newer = parted(here, course)
                self.newer += newer
                part |= {(queue, letter.number) for letter in letters}
        self.letters = [letter for letter in self.letters if (letter.queue, letter.number) in part]

    async def go(self, each: dict[str, Operator], advance: Callable[[int], object]) -> None:
        """Retry them all. Raises _Stopped."""
        for queue in self.courses:
            await each[queue].try_rights()
        await self._keep(each)
        if self.plan.first and not all(course.passed for course in self.courses.values()):
            await self._choose_first(each)
            await self._retry_first(each, advance)
            await self._wait_for_first(each)
        await self._retry_rest(each, advance)
        for queue in self.courses:
            await each[queue].end_course(self.plan.name)

    async def _keep(self, each: dict[str, Operator]) -> None:
        for queue, course in self.courses.items():
            await each[queue].keep_course(self.plan.name, course)
        self._kept_at = time.monotonic()

    async def _choose_first(self, each: dict[str, Operator]) -> None:
        if any(course.first for course in self.courses.values()) or not self.letters:
            return
        fulfilled = set()
        for queue in self.courses:
            ids = [each.order_id for each in self.letters if each.queue == queue and each.order_id]
            for start in range(0, len(ids), _MOST_AT_ONCE):
                some = ids[start : start + _MOST_AT_ONCE]
                told = await each[queue].follow(some)
                fulfilled |= {i for i, one in zip(some, told, strict=True) if one.fulfilled}
        chosen = firsts(self.letters, fulfilled, self.plan.first)
        if not chosen:
            raise _Stopped(
                "none of them can be followed, since they have no order id, or were fulfilled "
                "since: retry them without --first"
            )
        for letter in chosen:
            course = self.courses[letter.queue]
            first = [*course.first, First(letter.number, letter.order_id)]
            self.courses[letter.queue] = msgspec.structs.replace(course, first=first)
        # Known before they are retried: whatever ends this command, they are waited for.
        await self._keep(each)

    async def _retry_first(
        self, each: dict[str, Operator], advance: Callable[[int], object]
    ) -> None:
        for queue, course in self.courses.items():
            self.first += [first.order_id for first in course.first]
            await self._retry(each[queue], [first.number for first in course.first], advance)

    async def _wait_for_first(self, each: dict[str, Operator]) -> None:
        began, said = time.monotonic(), False
        while waiting := await self._unfinished(each):
            if not said and time.monotonic() - began > _SLOW:
                said = True
                complain(
                    f"waiting for {waiting}, which was retried first; why it waits, tells: "
                    f"fulfillment-worker status {waiting}"
                )
            await asyncio.sleep(_LOOK_EVERY)
        for queue, course in self.courses.items():
            self.courses[queue] = msgspec.structs.replace(course, passed=True)
        await self._keep(each)

    async def _unfinished(self, each: dict[str, Operator]) -> str:
        """The id of a first order that has not ended, "" where all are fulfilled."""
        waiting = ""
        for queue, course in self.courses.items():
            ids = [first.order_id for first in course.first]
            for order_id, told in zip(ids, await each[queue].follow(ids), strict=True):
                if told.final:
                    for name in self.courses:
                        await each[name].end_course(self.plan.name)
                if told.ended:
                    raise _Stopped(f"{order_id}, which was retried first, {told.ended}")
                if not told.fulfilled:
                    waiting = waiting or order_id
        return waiting

    async def _retry_rest(
        self, each: dict[str, Operator], advance: Callable[[int], object]
    ) -> None:
        first = {(queue, f.number) for queue, course in self.courses.items() for f in course.first}
        rest = [letter for letter in self.letters if (letter.queue, letter.number) not in first]
        rest += [letter for letter in self.letters if self._is_left_over(letter, first)]
        pace = Pace(self.plan.rate) if self.plan.rate else None
        while rest:
            now = time.monotonic()
            many = _MOST_AT_ONCE if pace is None else pace.take(now, min(len(rest), _MOST_AT_ONCE))
            if pace is not None and not many:
                await asyncio.sleep(pace.wait(now))
                continue
            some, rest = rest[:many], rest[many:]
            numbers: dict[str, list[int]] = defaultdict(list)
            for letter in some:
                numbers[letter.queue].append(letter.number)
            for queue, wanted in numbers.items():
                await self._retry(each[queue], wanted, advance)
            if now - self._kept_at > _NOTED_EVERY:
                await self._keep(each)

    def _is_left_over(self, letter: DeadLetter, first: set[tuple[str, int]]) -> bool:
        """Whether an earlier run chose it to go first, and this one goes without."""
        key = (letter.queue, letter.number)
        return key in first and key not in self.done

    async def _retry(
        self, operator: Operator, numbers: list[int], advance: Callable[[int], object]
    ) -> None:
        queue = operator.queue
        done, self._noted[queue] = await operator.retry_some(
            numbers, self._noted[queue], self._only
        )
        self.done |= {(queue, number) for number in done}
        advance(len(done))


def retry_paced(
    settings: Settings, plan: Plan, chosen: Chosen, *, dry_run: bool, as_json: bool
) -> int:
    """Retry the chosen letters step by step, or say how; returns the exit code."""
    run = _Run(plan, chosen.letters)
    ask(_prepare(settings, run))
    _tell_course(run)
    total = len(run.letters)
    if not dry_run:
        _carry_out(settings, run)
    if as_json:
        print_json(_result(run, chosen, dry_run))
    elif dry_run:
        _show_plan(run)
    else:
        click.echo(f"retried {_count(len(run.done))}")
    if run.stopped:
        left = total - len(run.done)
        rest = f"; {_count(left)} left as {'it is' if left == 1 else 'they are'}"
        complain(f"{run.stopped}{rest if left else ''}")
    gone = 0 if dry_run or run.stopped else total - len(run.done)
    if gone:
        complain(f"{_count(gone)} could not be retried: gone by now, or damaged")
    return 1 if run.stopped or chosen.missing or gone else 0


async def _prepare(settings: Settings, run: _Run) -> None:
    async with operators(settings) as each:
        await run.prepare(each)


def _tell_course(run: _Run) -> None:
    if run.resumed:
        complain(f"going on where an earlier run stood: {_count(len(run.letters))} left")
    if run.newer:
        complain(
            f"{_count(run.newer)} died since that began, maybe again, and {_are(run.newer)} not "
            "part of it: the same command retries them afterwards"
        )


def _carry_out(settings: Settings, run: _Run) -> None:
    with progress("Retrying dead letters", len(run.letters), worth=2) as advance:
        try:
            ask(_go(settings, run, advance))
        except _Stopped as stopped:
            run.stopped = f"stopped: {visible(str(stopped))}"
        except KeyboardInterrupt:
            run.stopped = _cut_short("interrupted", run)
        except click.ClickException as error:
            run.stopped = _cut_short(error.message, run)


async def _go(settings: Settings, run: _Run, advance: Callable[[int], object]) -> None:
    async with operators(settings, run.plan.by, run.plan.why) as each:
        await run.go(each, advance)


def _cut_short(why: str, run: _Run) -> str:
    return (
        f"{why}; {len(run.done)} of {_count(len(run.letters))} were certainly retried, and one "
        "batch more may be: the same command goes on from there"
    )


def _show_plan(run: _Run) -> None:
    many, rate = len(run.letters), run.plan.rate
    long = f", about {_span(seconds_for(many, rate))}" if rate else ""
    click.echo(f"would retry {_count(many)}: {run.plan.words}{long}")
    if run.letters:
        click.echo("\n".join(group_lines(grouped(run.letters), int(time.time() * 1000))))


def _result(run: _Run, chosen: Chosen, dry_run: bool) -> dict[str, Any]:
    told = [each for each in run.letters if dry_run or (each.queue, each.number) in run.done]
    return {
        "retried": len(run.done),
        "dry_run": dry_run,
        "missing": chosen.missing,
        "first": run.first,
        "left": len(run.letters) - len(run.done),
        "newer": run.newer,
        "stopped": run.stopped or None,
        "letters": [letter_fields(letter, chosen.groups[letter]) for letter in told],
    }


def _count(letters: int) -> str:
    return "1 dead letter" if letters == 1 else f"{letters} dead letters"


def _are(many: int) -> str:
    return "is" if many == 1 else "are"


def _span(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
