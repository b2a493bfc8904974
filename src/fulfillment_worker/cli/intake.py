"""Reading orders that are to be enqueued: JSON Lines, one JSON object, or an array of objects."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, cast

from fulfillment_worker.core.decode import NotJson, Undecodable, decode, parse, split_array

_BOM = b"\xef\xbb\xbf"
_SHOWN = 20
_IN_MEMORY = 8 * 1024 * 1024
# Up to this size, what isn't JSON Lines is tried as one JSON object of many lines.
_LARGEST_DOCUMENT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class InputEntry:
    """What may be an order. where: `line 3`. excess: bytes that were not kept, being too many."""

    where: str
    raw: bytes
    excess: int = 0


@dataclass
class Checked:
    """How many entries are orders, and why others are not; of these, the first few."""

    good: int = 0
    bad: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def report(self) -> list[str]:
        """The faults, one a line, and how many more there are."""
        more = self.bad - len(self.faults)
        return [*self.faults, f"and {more} more"] if more else self.faults


@dataclass(frozen=True)
class Rules:
    """What makes an order, as a worker has it."""

    id_field: str
    max_bytes: int

    def fault(self, entry: InputEntry) -> str | None:
        """Why the entry is no order, or None where it is one."""
        if entry.excess:
            size = len(entry.raw) + entry.excess
            return f"too large: {size} bytes, at most {self.max_bytes} are allowed"
        told = decode(entry.raw, id_field=self.id_field, max_bytes=self.max_bytes)
        return told.why if isinstance(told, Undecodable) else None


def check(entries: Iterable[InputEntry], rules: Rules, seen: Callable[[int], object]) -> Checked:
    """Look at all entries; `seen` is told the bytes of each."""
    checked = Checked()
    for entry in entries:
        fault = rules.fault(entry)
        seen(len(entry.raw) + 1)
        if fault is None:
            checked.good += 1
            continue
        checked.bad += 1
        if len(checked.faults) < _SHOWN:
            checked.faults.append(f"{entry.where}: {fault}")
    return checked


def good(entries: Iterable[InputEntry], rules: Rules) -> Iterator[bytes]:
    """The bytes of the entries that are orders."""
    return (entry.raw for entry in entries if rules.fault(entry) is None)


@contextmanager
def rereadable(source: IO[bytes]) -> Iterator[IO[bytes]]:
    """`source`, or a temporary copy where it can be read only once, as a pipe can."""
    if source.seekable():
        yield source
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        shutil.copyfileobj(source, copy)
        copy.seek(0)
        yield cast("IO[bytes]", copy)


def size_of(source: IO[bytes]) -> int:
    """Bytes from where `source` stands to its end."""
    start = source.tell()
    size = source.seek(0, 2) - start
    source.seek(start)
    return size


def entries(source: IO[bytes], max_bytes: int, start: int = 0) -> Iterator[InputEntry]:
    """What stands in `source` from `start` on, in order and as it was written, without blank lines.

    Memory is bounded for JSON Lines.
    """
    source.seek(start)
    if source.read(len(_BOM)) != _BOM:
        source.seek(start)
    yield from _entries(source, max_bytes)


def _entries(source: IO[bytes], max_bytes: int) -> Iterator[InputEntry]:
    start = source.tell()
    first = next(_lines(source, max_bytes), None)
    source.seek(start)
    if first is None:
        return iter(())
    one_line = not first.excess and _is_json(first.raw)
    if first.raw.lstrip().startswith(b"["):
        return _array(source, max_bytes, one_line)
    if not one_line and size_of(source) <= _LARGEST_DOCUMENT:
        document = source.read().strip()
        if _is_json(document):
            return iter([InputEntry("item 1", document)])
        source.seek(start)
    return _lines(source, max_bytes)


def _array(source: IO[bytes], max_bytes: int, one_line: bool) -> Iterator[InputEntry]:
    start = source.tell()
    document = source.read()
    try:
        items = split_array(document)
    except NotJson:
        if one_line:  # a line that is no order, and more lines
            source.seek(start)
            return _lines(source, max_bytes)
        return iter([InputEntry("the array", document)])
    return (InputEntry(f"item {number}", item) for number, item in enumerate(items, 1))


def _lines(source: IO[bytes], max_bytes: int) -> Iterator[InputEntry]:
    number = 0
    while line := source.readline(max_bytes + 2):
        number += 1
        excess = 0 if line.endswith(b"\n") else _skip_line(source)
        raw = line.removesuffix(b"\n").removesuffix(b"\r")
        if raw.strip() or excess:
            yield InputEntry(f"line {number}", raw, excess)


def _skip_line(source: IO[bytes]) -> int:
    """Pass over the rest of a line that is too long to keep; returns its length."""
    length = 0
    while part := source.readline(_IN_MEMORY):
        length += len(part.rstrip(b"\r\n"))
        if part.endswith(b"\n"):
            break
    return length


def _is_json(text: bytes) -> bool:
    try:
        parse(text)
    except NotJson:
        return False
    return True
