"""What the value of a setting may look like.

A parser is called with the text and returns the value, or raises ValueError, whose message tells
the user what to do; it quotes no value. Its `allowed` says the same in the reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from fulfillment_worker.config.password_file import read_password
from fulfillment_worker.config.redis_url import RedisUrl, resolvable

__all__ = [
    "Choice",
    "Duration",
    "Field",
    "HandlerName",
    "Host",
    "HostNames",
    "Location",
    "Names",
    "Number",
    "Parser",
    "PasswordFile",
    "RedisUrl",
    "Rights",
    "Size",
    "Text",
    "Whole",
]

_T_co = TypeVar("_T_co", covariant=True)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LONGEST_NAME = 128
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


class Parser(Protocol[_T_co]):
    """From text to the value of a setting."""

    @property
    def allowed(self) -> str:
        """What may be given, to follow the word "give"."""
        ...

    def __call__(self, text: str) -> _T_co:
        """The value. Raises ValueError, with a message that says what to do."""
        ...


@dataclass(frozen=True)
class Text:
    """Any text of so many characters at most, without control characters."""

    most: int

    @property
    def allowed(self) -> str:
        """See Parser."""
        return f"1 to {self.most} characters, without line breaks"

    def __call__(self, text: str) -> str:
        """See Parser."""
        if not 1 <= len(text) <= self.most or not text.isprintable():
            raise ValueError(f"give {self.allowed}")
        return text


@dataclass(frozen=True)
class Duration:
    """Seconds, or a number with a unit; the bounds are written the same way."""

    least: str
    most: str

    @property
    def allowed(self) -> str:
        return (
            "seconds (0.5, 60) or a number with a unit (250ms, 10s, 5m, 2h, 7d), "
            f"from {self.least} to {self.most}"
        )

    def __call__(self, text: str) -> float:
        seconds = _scaled(text, r"[0-9]*\.?[0-9]+", _SECONDS)
        least, most = (_scaled(bound, r"[0-9.]+", _SECONDS) for bound in (self.least, self.most))
        if seconds is None or least is None or most is None or not least <= seconds <= most:
            raise ValueError(f"give {self.allowed}")
        return seconds


@dataclass(frozen=True)
class Size:
    """Bytes, or a whole number with a binary unit; the bounds are written the same way."""

    least: str
    most: str

    @property
    def allowed(self) -> str:
        return f"bytes or a number with a unit (64KiB, 1MiB), from {self.least} to {self.most}"

    def __call__(self, text: str) -> int:
        size, least, most = (
            _scaled(number, r"[0-9]+", _BYTES) for number in (text, self.least, self.most)
        )
        if size is None or least is None or most is None or not least <= size <= most:
            raise ValueError(f"give {self.allowed}")
        return int(size)


def _scaled(text: str, number: str, units: Mapping[str, float]) -> float | None:
    match = re.fullmatch(rf"({number})\s*({'|'.join(units)})?", text)
    if not match or len(match[1]) > 18:
        return None
    return float(match[1]) * units.get(match[2], 1)


@dataclass(frozen=True)
class Whole:
    """A whole number between two bounds, both allowed."""

    least: int
    most: int

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.least} to {self.most}"

    def __call__(self, text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not self.least <= int(text) <= self.most:
            raise ValueError(f"give {self.allowed}")
        return int(text)


@dataclass(frozen=True)
class Number:
    """A number between two bounds, both allowed."""

    least: float
    most: float

    @property
    def allowed(self) -> str:
        return f"a number from {self.least:.12g} to {self.most:.12g}"

    def __call__(self, text: str) -> float:
        if not re.fullmatch(r"[0-9]*\.?[0-9]+", text) or not self.least <= float(text) <= self.most:
            raise ValueError(f"give {self.allowed}")
        return float(text)


@dataclass(frozen=True)
class Choice:
    """One of a few words, in any case."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"

    def __call__(self, text: str) -> str:
        if text.lower() not in self.words:
            raise ValueError(f"give {self.allowed}")
        return text.lower()


class Location:
    """A Redis URL."""

    allowed = (
        "redis://[USER:PASSWORD@]HOST:PORT/DB, rediss://… (TLS), unix:///SOCKET?db=DB, "
        "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB, redis+cluster://HOST:PORT,HOST:PORT, "
        "the last two with TLS as rediss+sentinel:// and rediss+cluster://, or embedded:PATH"
    )

    def __call__(self, text: str) -> RedisUrl:
        return RedisUrl.parse(text)


class PasswordFile:
    """The path of a file that holds a password. It is read to see that it can be."""

    allowed = "the path of a file with nothing but the password, and maybe a line break behind it"

    def __call__(self, text: str) -> str:
        try:
            read_password(text)
        except ValueError as why:
            raise ValueError(f"{why}; give {self.allowed}") from None
        return text


class Names:
    """Names of lists, separated by commas.

    Internal keys begin with a brace, so a name without braces can't be one.
    """

    allowed = (
        f"one or more names of 1 to {_LONGEST_NAME} characters, separated by commas, "
        "each once, without braces or control characters"
    )

    def __call__(self, text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(","))
        if len(set(names)) < len(names) or not all(map(self._usable, names)):
            raise ValueError(f"give {self.allowed}")
        return names

    @staticmethod
    def _usable(name: str) -> bool:
        return 1 <= len(name) <= _LONGEST_NAME and not re.search(
            rf"[{{}}]|{_CONTROL.pattern}", name
        )


class Field:
    """The name of a field of the order."""

    # These mean something else to the worker, and may be absent or repeated.
    _taken = ("enqueued_at", "created_at", "traceparent", "tracestate")
    allowed = (
        f"the name of a field, of 1 to {_LONGEST_NAME} characters without control characters, "
        f"other than {', '.join(_taken)}"
    )

    def __call__(self, text: str) -> str:
        if not 1 <= len(text) <= _LONGEST_NAME or _CONTROL.search(text) or text in self._taken:
            raise ValueError(f"give {self.allowed}")
        return text


class Host:
    """An address to listen on; "" stands for all interfaces, as it does for sockets."""

    allowed = "a host name, an IP address, or * for all interfaces"

    def __call__(self, text: str) -> str:
        if text == "*":
            return ""
        listed = re.fullmatch(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\]?", text)
        if not listed or not resolvable(text):
            raise ValueError(f"give {self.allowed}")
        return text.strip("[]")


class HostNames:
    """Names that a host is reached by, separated by commas."""

    allowed = "host names without ports, separated by commas"

    def __call__(self, text: str) -> tuple[str, ...]:
        names = tuple(name.strip().lower() for name in text.split(","))
        if not all(re.fullmatch(r"[a-z0-9._-]{1,253}", name) for name in names):
            raise ValueError(f"give {self.allowed}")
        return names


@dataclass(frozen=True)
class Rights:
    """Some of a few words, separated by commas; `all` is all of them."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return f"some of {', '.join(self.words)}, separated by commas, or all"

    def __call__(self, text: str) -> frozenset[str]:
        given = {word.strip().lower() for word in text.split(",")}
        if given == {"all"}:
            return frozenset(self.words)
        if not given <= set(self.words):
            raise ValueError(f"give {self.allowed}")
        return frozenset(given)


_FUNCTION = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*"
# A comma before `queue=` and the beginning of a handler: a URL may hold commas of its own.
_NEXT_HANDLER = re.compile(rf",(?=[^,=]+=\s*(?:https?:|{_FUNCTION}\s*(?:,|$)))", re.IGNORECASE)


def handlers_by_queue(text: str) -> dict[str, str]:
    """The handler of each queue, from `orders=shop:fulfil,returns=shop:refund`.

    Empty where `text` is one handler for all queues. Raises ValueError where a queue has two.
    """
    if re.match(r"https?:", text, re.IGNORECASE) or "=" not in text:
        return {}
    pairs = [each.partition("=") for each in _NEXT_HANDLER.split(text)]
    found = {queue.strip(): handler.strip() for queue, _, handler in pairs}
    if len(found) < len(pairs):
        raise ValueError(
            "give each queue one handler, as in orders=shop:fulfil,returns=shop:refund"
        )
    return found


class HandlerName:
    """Where orders are fulfilled: a Python function, or a URL; or one of them for each queue."""

    allowed = (
        "package.module:function, or an http:// or https:// URL; or one for each queue, as in "
        "orders=shop:fulfil,returns=shop:refund"
    )
    _function = re.compile(_FUNCTION)

    def __call__(self, text: str) -> str:
        for each in handlers_by_queue(text).values() or [text]:
            self._one(each)
        return text

    def _one(self, text: str) -> str:
        if re.match(r"https?:", text, re.IGNORECASE):
            return self._url(text)
        if not self._function.fullmatch(text):
            raise ValueError(f"give {self.allowed}, such as shop.orders:fulfil")
        return text

    @staticmethod
    def _url(text: str) -> str:
        try:
            parts = urlsplit(text)
            named = parts.hostname and resolvable(parts.hostname)
            usable = named and parts.port != 0 and not re.search(r"[\s\x00-\x1f]", text)
        except ValueError:  # a port that is none, or an unclosed bracket
            usable = None
        if not usable:
            raise ValueError("give a whole URL, such as https://shop.example/fulfil")
        return text
