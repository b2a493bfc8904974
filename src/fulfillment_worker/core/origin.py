"""Where in the shop's code an exception came from: the place in a word, and the traceback.

Source lines are left out: to read them takes files, and whoever has the code finds them by their
number. So are the values of variables: they are the order's data.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from itertools import islice
from types import CodeType, FrameType

from fulfillment_worker import __path__ as _package
from fulfillment_worker.core.text import one_line

LONGEST_TRACEBACK = 2000
"""Bytes of UTF-8; it is kept with the order's status."""
_LONGEST_PLACE = 200
_MOST_FRAMES = 1000
_SHOWN_FRAMES = 12
_MOST_CHAINED = 10
_LONGEST_MESSAGE = 300
_OURS = tuple(f"{folder}/" for folder in _package)
_LIBRARIES = ("/site-packages/", "/dist-packages/")
_STDLIB = (f"{sysconfig.get_paths()['stdlib']}/", "<frozen ")


class _Frame:
    """One line of a traceback."""

    __slots__ = ("code", "line", "module")

    def __init__(self, frame: FrameType, line: int | None) -> None:
        self.code: CodeType = frame.f_code
        self.line = line or 0
        module = frame.f_globals.get("__name__", "")
        self.module = module if type(module) is str else ""

    @property
    def is_ours(self) -> bool:
        return self.code.co_filename.startswith(_OURS)

    @property
    def is_librarys(self) -> bool:
        file = self.code.co_filename
        return file.startswith(_STDLIB) or any(part in file for part in _LIBRARIES)

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]

    @property
    def file(self) -> str:
        """As much of the path as the module's name tells: `shop/orders.py` of `shop.orders`."""
        parts = self.code.co_filename.split("/")
        many = self.module.count(".") + 1 + (parts[-1] == "__init__.py")
        return "/".join(parts[-many:])


def place_of(error: BaseException, within: BaseException | None = None) -> str:
    """` (FILE:LINE in FUNCTION)` of the innermost frame of the shop's; "" where there is none.

    The shop's is what is neither ours, nor the standard library's, nor installed; and whatever
    belongs to the package of the handler, which may be installed as well. Where nothing is, the
    innermost frame has to do. within: the group whose handler raised it.
    """
    frames = _frames(error) or (_frames(within) if within else [])
    if not frames:
        return ""
    package = (_frames(within)[:1] or frames)[0].package if within else frames[0].package
    shops = (f for f in reversed(frames) if f.package == package or not f.is_librarys)
    frame = next((f for f in shops if not f.is_ours), frames[-1])
    place = f"{frame.file}:{frame.line} in {frame.code.co_qualname}"
    return f" ({one_line(place, _LONGEST_PLACE)})"


def traceback_of(error: BaseException) -> str:
    """The traceback, from the handler on, with those of its causes before it. "" for none.

    Of one that is too long, the middle is left out: the end names the exception.
    """
    parts = list[str]()
    for each, link in islice(_chain(error), _MOST_CHAINED):
        parts.append("\n".join([*_lines(each), *([link] if link else [])]))
    if not any(_frames(each) for each, _ in islice(_chain(error), _MOST_CHAINED)):
        return ""
    raw = "\n".join(reversed(parts)).encode("utf-8", "backslashreplace")
    if len(raw) > LONGEST_TRACEBACK:
        half = LONGEST_TRACEBACK // 2 - 10
        raw = raw[:half] + b"\n  ...\n" + raw[-half:]
    return raw.decode("utf-8", "ignore")


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The exception, and what led to it, each with how it led to the one before."""
    current: BaseException | None = error
    link, seen = "", set[int]()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current, link
        if current.__cause__ is not None:
            current, link = current.__cause__, "which caused:"
        else:
            current = None if current.__suppress_context__ else current.__context__
            link = "and while that was handled:"


def _lines(error: BaseException, indent: str = "") -> Iterator[str]:
    yield f"{indent}Traceback (most recent call last):"
    frames = _frames(error)
    shown = frames
    if len(frames) > _SHOWN_FRAMES:
        shown = [*frames[: _SHOWN_FRAMES // 2], *frames[-_SHOWN_FRAMES // 2 :]]
    for number, frame in enumerate(shown):
        if number == _SHOWN_FRAMES // 2 and shown is not frames:
            yield f"{indent}  ... {len(frames) - len(shown)} more ..."
        code = frame.code
        where = f'File "{code.co_filename}", line {frame.line}, in {code.co_qualname}'
        yield f"{indent}  {one_line(where)}"
    yield f"{indent}{_headline(error)}"
    for note in list(getattr(error, "__notes__", ()))[:_MOST_CHAINED]:
        yield f"{indent}{one_line(str(note), _LONGEST_MESSAGE)}"
    if issubclass(type(error), BaseExceptionGroup):
        for inner in BaseExceptionGroup.exceptions.__get__(error)[:_MOST_CHAINED]:
            yield from _lines(inner, f"{indent}| ") if len(indent) < _MOST_CHAINED else ()


def _headline(error: BaseException) -> str:
    name = type(error).__qualname__
    try:
        text = one_line(str(error), _LONGEST_MESSAGE)
    except BaseException:  # noqa: BLE001 - it is the shop's code
        text = "(its text could not be had)"
    return f"{name}: {text}" if text else name


def _frames(error: BaseException | None) -> list[_Frame]:
    """Without those of ours that lead to the shop's code: they are the same each time."""
    frames = list[_Frame]()
    trace = error.__traceback__ if error is not None else None
    for _ in range(_MOST_FRAMES):
        if trace is None:
            break
        frame = _Frame(trace.tb_frame, trace.tb_lineno)
        if frames or not frame.is_ours:
            frames.append(frame)
        trace = trace.tb_next
    return frames
