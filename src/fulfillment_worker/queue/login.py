"""Logging in: what is said first on each connection, all at once, and what the answers mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from redis.exceptions import AuthenticationError

from fulfillment_worker.config.password_file import read_password
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.queue.redis_errors import NoLogin, SentinelLogin, ServerTooOld, code_of

OLDEST = (7, 0)
"""The first Redis with BLMOVE, and with RPOP of many. Valkey reports 7.2 or later here."""

NAME = "fulfillment-worker"
"""Of our connections, in CLIENT LIST."""


class Login(msgspec.Struct, frozen=True):
    """Who we are to a server, and which of its databases we want."""

    username: str | None = None
    password: str | None = None
    db: int = 0

    def commands(self, *, hello: bool = True) -> list[tuple[Any, ...]]:
        """What to send. hello: without, for a server whose HELLO was renamed away."""
        said: list[tuple[Any, ...]] = []
        credentials = self.username or "default", self.password or ""
        known = self.username is not None or self.password is not None
        if hello:
            said.append(("HELLO", 3, *(("AUTH", *credentials) if known else ())))
        elif known:
            said.append(("AUTH", *credentials))
        # Only to be found in CLIENT LIST: where it may not be said, we do without.
        said.append(("CLIENT", "SETNAME", NAME))
        if self.db:
            said.append(("SELECT", self.db))
        return said

    def check(self, replies: Sequence[Any], *, hello: bool = True) -> None:
        """Raise what was refused, or ServerTooOld; replies: to `commands`."""
        said = self.commands(hello=hello)
        for command, reply in zip(said, replies, strict=True):
            if isinstance(reply, Exception) and command[0] != "CLIENT":
                raise reply
        if hello:
            check_version(version_in(replies[0]))


def lacks_hello(replies: Sequence[Any]) -> bool:
    """Whether the server does not know HELLO, which is not needed to work with it."""
    return isinstance(replies[0], Exception) and code_of(replies[0]) == "UNKNOWN"


def version_in(hello: Any) -> str:
    """The server's version, from its answer to HELLO."""
    told = hello.get(b"version", hello.get("version", b"")) if isinstance(hello, dict) else b""
    return told.decode() if isinstance(told, bytes) else str(told)


def check_version(version: str) -> None:
    """Raise ServerTooOld where the server lacks a command that we need."""
    parts = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if parts and parts < OLDEST:
        raise ServerTooOld(version)


def login_of(url: RedisUrl) -> Login:
    """The login for the servers of `url`, as of now. Raises NoLogin."""
    password = url.password
    if url.password_file:
        try:
            password = read_password(url.password_file)
        except ValueError as why:
            raise NoLogin(f"{url.password_file}: {why}") from None
    return Login(url.username, password, url.db)


def sentinel_login(url: RedisUrl) -> Login:
    """The login for the sentinels of `url`."""
    return Login(*url.sentinel_login)


def refused_by_sentinel(error: Exception) -> Exception:
    """`error`, said to be a sentinel's where it refused the login."""
    if isinstance(error, AuthenticationError):
        return SentinelLogin(*error.args, status_code=error.status_code)
    return error
