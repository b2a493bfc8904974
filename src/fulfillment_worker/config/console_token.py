"""The token with which people sign in to the console: never a flag, which others could see."""

from __future__ import annotations

from collections.abc import Mapping

from fulfillment_worker.config.environ import trimmed
from fulfillment_worker.config.password_file import read_password

TOKEN = "FULFILLMENT_CONSOLE_TOKEN"
TOKEN_FILE = "FULFILLMENT_CONSOLE_TOKEN_FILE"
LEAST = 16
"""Characters: a shorter one could be guessed."""


def console_token(environ: Mapping[str, str]) -> str | None:
    """The token; None where there is none. Raises ValueError, whose message shows none of it."""
    told, file = trimmed(environ.get(TOKEN, "")), trimmed(environ.get(TOKEN_FILE, ""))
    if told and file:
        raise ValueError(f"{TOKEN} and {TOKEN_FILE} are both set: unset either")
    source = TOKEN_FILE if file else TOKEN
    try:
        token = trimmed(read_password(file)) if file else told
    except ValueError as why:
        raise ValueError(f"{TOKEN_FILE} names a file that can't be used: {why}") from None
    if not token and not file:
        return None
    if len(token) < LEAST:
        raise ValueError(
            f"{source} gives a token of {len(token)} characters: give {LEAST} or more, such as "
            "those of: openssl rand -base64 24"
        )
    return token
