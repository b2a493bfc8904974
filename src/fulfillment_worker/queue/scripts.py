"""The Lua scripts, each put together from the parts that it needs."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files

import msgspec

_FOLDER = files(__package__) / "lua"


class Script(msgspec.Struct, frozen=True):
    """A script's text, and the SHA-1 by which Redis's script cache knows it."""

    name: str
    text: str
    sha: str


class Seldom(msgspec.Struct, frozen=True):
    """Parts that are a function `name` together. It returns what the last part does."""

    name: str
    parts: tuple[str, ...]


def load(name: str, *parts: str | Seldom) -> Script:
    """The script `name`, preceded by `parts`; all are files in `lua/`.

    What follows the first part is a function of its own. Redis makes all functions of a script anew
    each time that it runs. For each local that a function uses, Lua walks through all locals in use
    so far, but has those of an enclosing function at once.
    """
    first, *rest = map(_read, (*parts, name))
    text = "\n".join((first, "return (function()", *rest, "end)()\n")) if rest else first
    return named(name, text)


def _read(part: str | Seldom) -> str:
    if isinstance(part, Seldom):
        return "\n".join((f"local function {part.name}()", *map(_read, part.parts), "end\n"))
    return (_FOLDER / f"{part}.lua").read_text("utf-8")


def named(name: str, text: str) -> Script:
    """The script with this text."""
    # Not a matter of security: it is the name that EVALSHA wants.
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())
