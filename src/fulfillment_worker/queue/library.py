"""The library of functions that Redis runs for us (redis.io, "Redis functions").

Its name contains a hash of its content, and so do the names of its functions: workers of two
versions can serve one queue, each with its own functions.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from hashlib import sha256
from importlib.resources import files
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from fulfillment_worker.queue import keys

_FOLDER = files(__package__) / "lua"
_PREFIX = "fulfillment_"
_PARTS = (
    *("common", "entries", "events", "clock", "order_id", "wishes", "limits", "begin", "early"),
    *("outcomes", "schedule", "withdrawn", "reap"),
    *("claim", "survey", "exchange", "stand_by", "holdings", "heartbeat", "release", "preflight"),
    *("greet", "audit", "limit", "dead_letters", "edit", "hold", "erase", "letters", "pause"),
    *("overview", "known", "filled", "idle"),
)


class Function(StrEnum):
    """The functions of the library."""

    EXCHANGE = "exchange"
    STAND_BY = "stand_by"
    HOLDINGS = "holdings"
    HEARTBEAT = "heartbeat"
    RELEASE = "release"
    RIGHTS = "rights"
    GREET = "greet"
    FILLED = "filled"
    KNOWN = "known"
    OVERVIEW = "overview"
    LETTERS = "letters"
    RETRY_DEAD = "retry_dead"
    DROP_DEAD = "drop_dead"
    EDIT_DEAD = "edit_dead"
    HOLD = "hold"
    CANCEL = "cancel"
    KEEP_WISH = "keep_wish"
    LET_GO = "let_go"
    ERASE = "erase"
    NOTE = "note"
    PAUSE = "pause"
    LIMIT = "limit"
    IDLE = "idle"


class Library(msgspec.Struct, frozen=True):
    """name: by which Redis knows it. names: those of its functions, by which Redis calls them."""

    name: str
    text: str
    names: dict[Function, str]

    @property
    def loading(self) -> tuple[str, ...]:
        """The command that loads it, or does nothing new where it is loaded."""
        return "FUNCTION", "LOAD", "REPLACE", self.text

    def call(self, function: Function, *args: Any) -> tuple[Any, ...]:
        """The command that calls a function. args: the number of keys, the keys, the arguments."""
        return "FCALL", self.names[function], *args


def assemble(edited: Callable[[str], str] = str) -> Library:
    """The library as its parts make it. edited: for tests that change its text."""
    text = edited("\n".join(map(read, _PARTS)))
    version = sha256(text.encode()).hexdigest()[:12]
    name = f"{_PREFIX}{version}"
    head = f"#!lua name={name}\nlocal VERSION = '{version}'\n"
    return Library(name, head + text, {each: f"{each}_{version}" for each in Function})


def read(part: str) -> str:
    """The text of a part."""
    return (_FOLDER / f"{part}.lua").read_text("utf-8")


def libraries() -> tuple[str, ...]:
    """The command that lists the libraries of all versions."""
    return "FUNCTION", "LIST", "LIBRARYNAME", f"{_PREFIX}*"


def names_in(listed: Any) -> list[str]:
    """Their names, in the reply to it; none where it was refused."""
    if not isinstance(listed, list):
        return []
    # With RESP3 each is a map, with RESP2 a flat list.
    told = [
        each if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=True))
        for each in listed
    ]
    return [each[b"library_name"].decode() for each in told]


def idle_in(name: str) -> tuple[str, ...]:
    """The command that asks the library `name` for how many ms no worker has called it."""
    return "FCALL", f"{Function.IDLE}_{name.removeprefix(_PREFIX)}", "0"


def is_missing(error: object) -> bool:
    """Whether it is what Redis answers where the library isn't loaded, or was flushed."""
    return isinstance(error, ResponseError) and "Function not found" in str(error)


def keys_in_policy(queue: str) -> dict[str, str]:
    """Names that the functions take from their policy: of what is not among their keys."""
    return {
        "order_prefix": keys.order_prefix(queue),
        "in_flight_prefix": keys.in_flight_prefix(queue),
        "scheduled": keys.scheduled(queue),
        "set_aside": keys.set_aside(queue),
        "held": keys.held(queue),
        "parked": keys.parked(queue),
        "parked_keys": keys.parked_keys(queue),
        "key_holders": keys.key_holders(queue),
        "held_keys": keys.held_keys(queue),
        "key_rates": keys.key_rates(queue),
        "key_turns": keys.key_turns(queue),
        "scratch": keys.scratch(queue),
        "wake": keys.wake(queue),
    }


LIBRARY = assemble()
