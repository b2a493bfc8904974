"""Foreign text made fit for a log line, a terminal and an order's `error` field."""

from __future__ import annotations


def one_line(text: str, limit: int) -> str:
    """`text` on one line, without control or invisible characters, at most `limit` characters."""
    visible = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(visible.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
