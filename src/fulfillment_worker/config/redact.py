"""Text that people gave us, made safe to print."""

from __future__ import annotations

import re

_LONGEST = 100
_MASK = "***"


def redact(text: str) -> str:
    """`text` without what may be a secret, where it is a URL or was meant to be one.

    It goes by the looks, since the URL that has to be shown most often is a malformed one.
    """
    scheme, separator, rest = text.partition("://") if "://" in text else ("", "", text)
    if "@" in rest:
        rest = f"{_MASK}@{rest.rpartition('@')[2]}"
    elif separator and _may_hold_a_password(rest):
        rest = _MASK
    if separator:
        rest = _without_query_values(rest)
    return f"{scheme}{separator}{rest}"


def shown(text: str) -> str:
    """`text` in quotes for a message: redacted, cut to a line, control characters escaped."""
    safe = redact(text)
    return repr(safe if len(safe) <= _LONGEST else f"{safe[: _LONGEST - 3]}...")


def visible(text: str) -> str:
    """`text` with everything escaped that could steer a terminal or hide what is there."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def _may_hold_a_password(rest: str) -> bool:
    # `redis://:secret` forgets the host: what looks like a port is the password.
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    ports = re.sub(r"\[[^\]]*\]", "", authority).split(",")
    return any(":" in port and not re.search(r":\d{1,5}$", port) for port in ports)


def _without_query_values(rest: str) -> str:
    path, mark, query = rest.partition("?")
    return path + mark + re.sub(r"=[^&]*", f"={_MASK}", query)
