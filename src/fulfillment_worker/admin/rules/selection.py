"""Which dead letters somebody means by a number, an order id or the name of a group."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from fulfillment_worker.admin.rules.causes import DeadLetter, names
from fulfillment_worker.core.outcome import DeadReason

KINDS = ("letter", "order", "group")
"""`letter:17`, `order:17` and `group:17` say which is meant."""


_REASONS = "|".join(["unknown", *(reason.value for reason in DeadReason)])
_GROUP = re.compile(rf"(?:{_REASONS})-[0-9a-f]{{4,}}")
_NUMBER = re.compile(r"[1-9][0-9]{0,15}")


class Selection(msgspec.Struct, frozen=True):
    """letters: in the order in which they died. missing, ambiguous: of the names that were given.

    A name is ambiguous where it fits different letters in different ways.
    """

    letters: list[DeadLetter]
    missing: list[str]
    ambiguous: list[str]


class Sought(msgspec.Struct, frozen=True):
    """What names may mean, where none may be a group's: numbers of letters, and ids of orders."""

    numbers: list[int]
    order_ids: set[str]


def sought(names: Iterable[str]) -> Sought | None:
    """Which letters to look at for these names; None where a group may be meant: at all of them."""
    found = Sought([], set())
    for name in names:
        kind, _, rest = name.partition(":")
        if kind not in KINDS or not rest:
            kind, rest = "", name
        if kind == "group" or (not kind and _GROUP.fullmatch(rest)):
            return None
        if kind != "order" and _NUMBER.fullmatch(rest):
            found.numbers.append(int(rest))
        if kind != "letter":
            found.order_ids.add(rest)
    return found


def selected(letters: Iterable[DeadLetter], wanted: Iterable[str]) -> Selection:
    """The letters that are meant by the names `wanted`."""
    index = _Index(list(letters))
    chosen: set[DeadLetter] = set()
    missing, ambiguous = [], []
    for name in dict.fromkeys(wanted):
        meanings = index.meanings(name)
        if not meanings:
            missing.append(name)
        elif len(meanings) > 1:
            ambiguous.append(name)
        else:
            chosen |= meanings.pop()
    return Selection(sorted(chosen, key=lambda letter: letter.at), missing, ambiguous)


class _Index:
    def __init__(self, letters: list[DeadLetter]) -> None:
        groups = names(letter.cause for letter in letters)
        self._by_name: dict[tuple[str, str], set[DeadLetter]] = defaultdict(set)
        # The number of a letter is its own within its queue only.
        self._by_number: dict[str, set[frozenset[DeadLetter]]] = defaultdict(set)
        for letter in letters:
            self._by_number[str(letter.number)].add(frozenset([letter]))
            self._by_name["group", groups[letter.cause]].add(letter)
            if letter.order_id:
                self._by_name["order", letter.order_id].add(letter)

    def meanings(self, name: str) -> set[frozenset[DeadLetter]]:
        """All sets of letters that can be meant."""
        kind, _, rest = name.partition(":")
        if kind in KINDS and rest:
            return self._of_kind(kind, rest)
        return set[frozenset[DeadLetter]]().union(*(self._of_kind(each, name) for each in KINDS))

    def _of_kind(self, kind: str, name: str) -> set[frozenset[DeadLetter]]:
        if kind == "letter":
            return self._by_number.get(name, set())
        found = self._by_name.get((kind, name))
        return {frozenset(found)} if found else set()
