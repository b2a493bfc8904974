"""Which dead letters a command is about."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.admin.rules.causes import DeadLetter, names
from fulfillment_worker.admin.rules.selection import KINDS, selected, sought
from fulfillment_worker.cli.clients import operators
from fulfillment_worker.cli.options import Unusable
from fulfillment_worker.cli.terminal import complain, no_such_queue
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.core.redaction import quoted


@dataclass(frozen=True)
class Chosen:
    """letters: in the order in which they died. missing: names that fit none. groups: of all."""

    letters: list[DeadLetter]
    missing: list[str]
    groups: dict[DeadLetter, str]


async def letters_of(settings: Settings, wanted: tuple[str, ...] = ()) -> list[DeadLetter]:
    """The letters that these names may mean; all of them where there are no names."""
    async with operators(settings) as each:
        return await meant(each.values(), wanted)


async def meant(each: Collection[Operator], wanted: tuple[str, ...]) -> list[DeadLetter]:
    """The same, asked of these operators; says which queues nobody has ever used."""
    for operator in each:
        if not await operator.is_known():
            complain(no_such_queue(operator.queue))
    only = sought(wanted) if wanted else None
    if only is None:
        return await _all_letters(each)
    found: dict[tuple[str, int], DeadLetter] = {}
    for operator in each:
        numbered = [await operator.letter(number) for number in only.numbers]
        named = [each async for each in operator.letters(only.order_ids)] if only.order_ids else []
        for letter in (*numbered, *named):
            if letter:
                found[letter.queue, letter.number] = letter
    return list(found.values())


async def _all_letters(each: Iterable[Operator]) -> list[DeadLetter]:
    letters = [letter for operator in each async for letter in operator.letters()]
    return sorted(letters, key=lambda letter: (letter.at, letter.number))


def groups_of(letters: list[DeadLetter]) -> dict[DeadLetter, str]:
    """The name of each letter's group."""
    causes = {letter: letter.cause for letter in letters}
    named = names(causes.values())
    return {letter: named[cause] for letter, cause in causes.items()}


def choose_named(letters: list[DeadLetter], wanted: Iterable[str]) -> Chosen:
    """The letters with these names; tells of names that fit none, and fails at ambiguous ones."""
    selection = selected(letters, wanted)
    if selection.ambiguous:
        raise Unusable("\n".join(map(_ambiguous, selection.ambiguous)))
    for name in selection.missing:
        complain(f"{quoted(name)} is no dead letter, and no order or group that has any")
    return Chosen(selection.letters, selection.missing, groups_of(letters))


def _ambiguous(name: str) -> str:
    if name.partition(":")[0] in KINDS:
        return f"{quoted(name)} is in several queues: say which with --queue"
    choices = ", ".join(quoted(f"{kind}:{name}") for kind in KINDS)
    return f"{quoted(name)} fits several: say {choices}, and which queue with --queue"


def choose(letters: list[DeadLetter], wanted: tuple[str, ...], reason: str | None) -> Chosen:
    """The letters with these names (all where there are none) and this reason (any where None)."""
    chosen = choose_named(letters, wanted) if wanted else Chosen(letters, [], groups_of(letters))
    kept = [letter for letter in chosen.letters if reason in (None, letter.reason)]
    return Chosen(kept, chosen.missing, chosen.groups)


def check_selection(wanted: tuple[str, ...], every: bool, reason: str | None) -> None:
    """Raise Unusable where a command is about nothing, or about everything twice."""
    if wanted and every:
        raise Unusable("--all and names were given: give one of them")
    if not (wanted or every or reason):
        raise Unusable("nothing is selected: give letters, order ids, groups, --reason or --all")
