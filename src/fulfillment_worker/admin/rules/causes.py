"""Dead letters, grouped by what they died of."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256

import msgspec

_LONGEST_READ, _LONGEST = 1000, 200
_DIGITS = (4, 8, 16, 64)
# The status of an HTTP answer stays: 404 and 503 are two causes. So does the place in the code, all
# but the line: that moves with each release.
_WORDS = re.compile(r"(?:answered|HTTP|status) \d{3}\b|[\w.:+-]+:\d+ in [\w.<>]+|[\w.:+-]+")
_PLACE = re.compile(r"(\S+):\d+( in \S+)")
_STATUS = re.compile(r"\w+ \d{3}")


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter without its bytes, of which there are `size`. Times are Unix ms.

    number: its own for ever, within its queue. order_id: "" where the bytes have none. edited: when
    somebody edited the bytes last.
    """

    queue: str
    number: int
    order_id: str
    reason: str
    error: str
    at: int
    worker: str
    failures: int
    orphanings: int
    first_seen: int
    size: int
    edited: int | None = None

    @property
    def cause(self) -> Cause:
        """What it has in common with similar ones."""
        return Cause(self.reason, normalised(self.error, self.order_id))


class Cause(msgspec.Struct, frozen=True, order=True):
    """A reason, and an error without what differs from order to order."""

    reason: str
    error: str

    def name(self, digits: int) -> str:
        """The same for ever, with so many digits to tell it from others of the same reason."""
        digest = sha256(self.error.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self.reason}-{digest[:digits]}"


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The letters of one queue with one cause. newest, oldest: Unix ms. example: an order id."""

    group: str
    queue: str
    reason: str
    error: str
    count: int
    newest: int
    oldest: int
    example: str


def normalised(error: str, order_id: str = "") -> str:
    """`error` on one line, with `#` for the order's id and for whatever word has a digit in it."""
    text = " ".join(error[:_LONGEST_READ].split())
    # An expression for each order's id costs more than all else that is done with a letter.
    if order_id and order_id in text:
        text = re.sub(rf"(?<!\w){re.escape(order_id)}(?!\w)", "#", text)
    return _without_variables(text)


@lru_cache(maxsize=1024)
def _without_variables(text: str) -> str:
    return _WORDS.sub(_constant, text)[:_LONGEST]


def _constant(found: re.Match[str]) -> str:
    word = found[0]
    if place := _PLACE.fullmatch(word):
        return f"{place[1]}{place[2]}"
    varies = any(map(str.isdigit, word)) and not _STATUS.fullmatch(word)
    return "#" if varies else word


def names(causes: Iterable[Cause]) -> dict[Cause, str]:
    """A short name for each cause; causes that would share one get longer ones."""
    left, named = set(causes), dict[Cause, str]()
    for digits in _DIGITS:
        told = {cause: cause.name(digits) for cause in left}
        often = Counter(told.values())
        named |= {cause: name for cause, name in told.items() if often[name] == 1}
        left -= named.keys()
    return named


def grouped(letters: Iterable[DeadLetter]) -> list[Group]:
    """One group for each queue and cause, the most frequent first."""
    piles: dict[tuple[str, Cause], list[DeadLetter]] = defaultdict(list)
    for letter in letters:
        piles[letter.queue, letter.cause].append(letter)
    named = names(cause for _, cause in piles)
    groups = [_group(named[cause], cause, pile) for (_, cause), pile in piles.items()]
    return sorted(groups, key=lambda group: (-group.count, group.group, group.queue))


def _group(name: str, cause: Cause, pile: list[DeadLetter]) -> Group:
    newest = max(pile, key=lambda letter: (letter.at, letter.number))
    return Group(
        group=name,
        queue=newest.queue,
        reason=cause.reason,
        error=cause.error,
        count=len(pile),
        newest=newest.at,
        oldest=min(letter.at for letter in pile),
        example=next((each.order_id for each in (newest, *pile) if each.order_id), ""),
    )
