"""`fulfillment-worker dead`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import click
import msgspec

from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.admin.rules.causes import DeadLetter, grouped
from fulfillment_worker.admin.rules.pacing import name_of
from fulfillment_worker.cli.clients import ask, audited, operators
from fulfillment_worker.cli.dead_edit import edit
from fulfillment_worker.cli.dead_pace import ParsedRate, Plan, retry_paced
from fulfillment_worker.cli.letters import (
    DeadLetterDetail,
    group_lines,
    letter_fields,
    letter_lines,
    opened_fields,
    opened_lines,
)
from fulfillment_worker.cli.options import Command, Unusable, own_option, settings_options
from fulfillment_worker.cli.progress import progress
from fulfillment_worker.cli.selection import (
    Chosen,
    check_selection,
    choose,
    choose_named,
    groups_of,
    letters_of,
    meant,
)
from fulfillment_worker.cli.terminal import complain, print_json
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.config.values import Whole
from fulfillment_worker.core.limits import Rate
from fulfillment_worker.core.outcome import DeadReason

_MANY = 5_000
_NONE = "no dead letters"
_REASONS = click.Choice([reason.value for reason in DeadReason])
_Act = Callable[
    [Operator, list[int], Callable[[list[int]], object], str], Coroutine[Any, Any, None]
]


@click.group()
def dead() -> None:
    """Look at dead letters, correct them, retry them or drop them.

    They are named by number, by order id, or by group: those that died of the same cause. Where a
    name could mean several things, say which: letter:17, order:17 or group:17.

    \b
    Examples:
      fulfillment-worker dead list
      fulfillment-worker dead show A-1001
      fulfillment-worker dead edit A-1001
      fulfillment-worker dead retry rejected-3f2a --dry-run
      fulfillment-worker dead drop --reason invalid
    """


@dead.command(name="list")
@click.option("--all", "every", is_flag=True, help="list each letter, not the groups")
@click.option("--group", metavar="GROUP", help="list each letter of this group")
@click.option("--json", "as_json", is_flag=True, help="print a JSON list; times are Unix ms")
@settings_options("redis_url", "queues")
def list_(settings: Settings, every: bool, group: str | None, as_json: bool) -> int:
    """List dead letters, grouped by cause, the most frequent first.

    \b
    Examples:
      fulfillment-worker dead list
      fulfillment-worker dead list --group rejected-3f2a
      fulfillment-worker dead list --all --json
    """
    letters = ask(letters_of(settings))
    if group is not None:
        chosen = choose_named(letters, [f"group:{group}"])
        _show_letters(chosen.letters, chosen.groups, as_json)
        return 1 if chosen.missing else 0
    if every:
        _show_letters(letters, groups_of(letters), as_json)
    else:
        _show_groups(letters, as_json)
    return 0


@dead.command()
@click.argument("wanted", metavar="ID|GROUP...", nargs=-1, required=True)
@click.option("--raw", is_flag=True, help="write the exact bytes of one letter, nothing else")
@click.option("--json", "as_json", is_flag=True, help="print a JSON list; times are Unix ms")
@settings_options("redis_url", "queues")
def show(settings: Settings, wanted: tuple[str, ...], raw: bool, as_json: bool) -> int:
    """Show all there is to know of dead letters: why, when, the attempts, and the exact bytes.

    Exits 1 if any of them isn't there.

    \b
    Examples:
      fulfillment-worker dead show A-1001
      fulfillment-worker dead show letter:17 --raw > order.json
    """
    if raw and as_json:
        raise Unusable("--raw and --json were given: give one of them")
    chosen, opened = ask(_open(settings, wanted, raw))
    if raw:
        for each in opened:
            click.echo(each.raw, nl=False)
    elif as_json:
        print_json([opened_fields(each) for each in opened])
    elif opened:
        click.echo("\n\n".join("\n".join(opened_lines(each, _now())) for each in opened))
    gone = len(chosen.letters) - len(opened)
    return 1 if chosen.missing or gone else 0


def _selecting(command: Command) -> Command:
    """Give a command the options by which letters are selected, and its ways to report."""
    for decorate in (
        settings_options("redis_url", "queues"),
        audited,
        click.option("--json", "as_json", is_flag=True, help="print the result as JSON"),
        click.option("--dry-run", is_flag=True, help="tell what would happen, and do nothing"),
        click.option("--reason", type=_REASONS, help="only those with this reason"),
        click.option("--all", "every", is_flag=True, help="all dead letters"),
        click.argument("wanted", metavar="[ID|GROUP]...", nargs=-1),
    ):
        command = decorate(command)
    return command


@dead.command()
@own_option("--first", Whole(1, 1000), None, "retry so many, and the rest when they are fulfilled")
@own_option("--rate", ParsedRate(), None, "retry no more than this, such as 10/s, 90/m or 500/h")
@_selecting
def retry(settings: Settings, first: int | None, rate: Rate | None, **options: Any) -> int:
    """Put dead letters back: due at once, with all their attempts before them.

    An order that was fulfilled since is not handled again: its letter counts as a duplicate. Exits
    1 if any that was named isn't there; the others are retried.

    With --first or --rate it goes step by step. If an order that goes first dies again, is
    postponed, held or cancelled, the rest stays as it is (exit 1). However it ends, the same
    command goes on where it stood, and leaves alone what has died since.

    \b
    Examples:
      fulfillment-worker dead retry A-1001 A-1002
      fulfillment-worker dead retry rejected-3f2a --dry-run
      fulfillment-worker dead retry --reason attempts_exhausted --why "the carrier is back"
      fulfillment-worker dead retry rejected-3f2a --first 1 --rate 10/s
    """
    if first is None and rate is None:
        return _work(settings, "retry", "retried", Operator.retry_dead, **options)
    return _retry_paced(settings, first or 0, rate, **options)


def _retry_paced(
    settings: Settings,
    first: int,
    rate: Rate | None,
    *,
    wanted: tuple[str, ...],
    every: bool,
    reason: str | None,
    by: str | None,
    why: str | None,
    **report: bool,
) -> int:
    check_selection(wanted, every, reason)
    plan = Plan(name_of(wanted, reason), first, rate, by, why)
    chosen = choose(ask(letters_of(settings, wanted)), wanted, reason)
    return retry_paced(settings, plan, chosen, **report)


@dead.command()
@_selecting
def drop(settings: Settings, **options: Any) -> int:
    """Remove dead letters for ever; they count as dropped.

    Exits 1 if any that was named isn't there; the others are dropped.

    \b
    Examples:
      fulfillment-worker dead drop letter:17
      fulfillment-worker dead drop invalid-09ab --dry-run
      fulfillment-worker dead drop --all --queue express
    """
    return _work(settings, "drop", "dropped", Operator.drop_dead, **options)


dead.add_command(edit)


# --- showing --------------------------------------------------------------------------------------


def _now() -> int:
    return int(time.time() * 1000)


def _show_groups(letters: list[DeadLetter], as_json: bool) -> None:
    groups = grouped(letters)
    if as_json:
        print_json(msgspec.to_builtins(groups))
    else:
        click.echo("\n".join(group_lines(groups, _now())) if groups else _NONE)


def _show_letters(letters: list[DeadLetter], groups: dict[DeadLetter, str], as_json: bool) -> None:
    if as_json:
        print_json([letter_fields(letter, groups[letter]) for letter in letters])
    else:
        click.echo("\n".join(letter_lines(letters, groups, _now())) if letters else _NONE)


async def _open(
    settings: Settings, wanted: tuple[str, ...], raw: bool
) -> tuple[Chosen, list[DeadLetterDetail]]:
    async with operators(settings) as each:
        chosen = choose_named(await meant(each.values(), wanted), wanted)
        if raw and len(chosen.letters) > 1:
            raise Unusable(f"--raw is for one letter, and {len(chosen.letters)} were named")
        opened = [
            await _opened(each[letter.queue], letter, chosen.groups[letter])
            for letter in chosen.letters
        ]
    return chosen, [each for each in opened if each is not None]


async def _opened(operator: Operator, letter: DeadLetter, group: str) -> DeadLetterDetail | None:
    raw = await operator.read(letter.number)
    if raw is None:
        return None
    history, traceback = await operator.history(letter.order_id) if letter.order_id else ([], "")
    return DeadLetterDetail(letter, group, raw, history, traceback)


# --- retrying and dropping ------------------------------------------------------------------------


@dataclass
class _Work:
    """What is done to letters, and which of them Redis confirmed."""

    verb: str
    past: str
    act: _Act
    by: str | None = None
    why: str | None = None
    done: set[tuple[str, int]] = field(default_factory=set)
    begun: bool = False


def _work(
    settings: Settings,
    verb: str,
    past: str,
    act: _Act,
    *,
    wanted: tuple[str, ...],
    every: bool,
    reason: str | None,
    dry_run: bool,
    as_json: bool,
    by: str | None,
    why: str | None,
) -> int:
    check_selection(wanted, every, reason)
    work = _Work(verb, past, act, by, why)
    letters = ask(letters_of(settings, wanted))
    chosen = choose(letters, wanted, reason)
    if not dry_run:
        _carry_out(settings, work, chosen.letters)
        _tell_gone(work, chosen.letters)
    if as_json:
        print_json(_result(work, chosen, dry_run))
    elif dry_run:
        _show_plan(work, chosen.letters)
    else:
        click.echo(f"{work.past} {_count(len(work.done))}")
    gone = not dry_run and len(work.done) < len(chosen.letters)
    return 1 if chosen.missing or gone else 0


def _carry_out(settings: Settings, work: _Work, letters: list[DeadLetter]) -> None:
    with progress(f"{work.verb.capitalize()} dead letters", len(letters), worth=_MANY) as advance:
        try:
            ask(_act_on(settings, work, letters, advance))
        except KeyboardInterrupt:
            raise _cut_short("interrupted", work, letters) from None
        except click.ClickException as error:
            raise _cut_short(error.message, work, letters) from None


async def _act_on(
    settings: Settings, work: _Work, letters: list[DeadLetter], advance: Callable[[int], object]
) -> None:
    numbers: dict[str, list[int]] = defaultdict(list)
    for letter in letters:
        numbers[letter.queue].append(letter.number)
    order_id = letters[0].order_id if len(letters) == 1 else ""
    async with operators(settings, work.by, work.why) as each:
        work.begun = True
        for queue, wanted in numbers.items():

            def confirmed(done: list[int], queue: str = queue) -> None:
                work.done.update((queue, number) for number in done)
                advance(len(done))

            await work.act(each[queue], wanted, confirmed, order_id)


def _cut_short(why: str, work: _Work, letters: list[DeadLetter]) -> click.ClickException:
    if not work.begun:
        return click.ClickException(f"{why}; nothing was {work.past}")
    return click.ClickException(
        f"{why}; {len(work.done)} of {_count(len(letters))} were certainly {work.past}, and one "
        "batch more may be: do it again for the rest, a letter that isn't there any more is left be"
    )


def _tell_gone(work: _Work, letters: list[DeadLetter]) -> None:
    gone = len(letters) - len(work.done)
    if gone:
        complain(f"{_count(gone)} could not be {work.past}: gone by now, or damaged")


def _show_plan(work: _Work, letters: list[DeadLetter]) -> None:
    click.echo(f"would {work.verb} {_count(len(letters))}")
    if letters:
        click.echo("\n".join(group_lines(grouped(letters), _now())))


def _result(work: _Work, chosen: Chosen, dry_run: bool) -> dict[str, Any]:
    told = [each for each in chosen.letters if dry_run or (each.queue, each.number) in work.done]
    return {
        work.past: 0 if dry_run else len(told),
        "dry_run": dry_run,
        "missing": chosen.missing,
        "letters": [letter_fields(letter, chosen.groups[letter]) for letter in told],
    }


def _count(letters: int) -> str:
    return "1 dead letter" if letters == 1 else f"{letters} dead letters"
