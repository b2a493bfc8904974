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


def load(name: str, *parts: str) -> Script:
    """The script `name`, preceded by `parts`; all are files in `lua/`."""
    return named(
        name, "\n".join((_FOLDER / f"{part}.lua").read_text("utf-8") for part in (*parts, name))
    )


def named(name: str, text: str) -> Script:
    """The script with this text."""
    # Not a matter of security: it is the name that EVALSHA wants.
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())
