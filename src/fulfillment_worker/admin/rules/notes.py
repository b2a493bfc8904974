"""What a handler said of an order that it fulfilled."""

from __future__ import annotations

from typing import Any

import msgspec


def read_note(text: str) -> dict[str, Any] | None:
    """An order's `note`, as its status and its event have it; None where it is none."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError):
        return None
