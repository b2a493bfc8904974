"""Foreign text made safe to show: in a log line, on a terminal, in an order's `error` field.

Foreign is what producers, handlers, their dependencies, servers and users write. It can neither
begin a new line nor steer a terminal then, and can always be encoded.
"""

from __future__ import annotations


def one_line(text: str, longest: int | None = None) -> str:
    """`text` on one line, with escapes for what isn't visible, at most `longest` characters."""
    line = visible(" ".join(text.split()))
    return line if longest is None or len(line) <= longest else f"{line[: longest - 1]}…"


def visible(text: str) -> str:
    """`text` with Python's escapes for whatever is not visible: line breaks and controls, too."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode()
        for each in text
    )


def clipped(text: str, longest: int) -> str:
    """At most so many characters of it, and a sign where there were more."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def text_of(value: bytes | str) -> str:
    """What Redis sent, as text; bytes that are none stay visible as escapes."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
