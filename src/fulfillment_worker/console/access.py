"""Who may see the console, and who may do what there."""

from __future__ import annotations

import base64
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

RIGHTS = ("retry", "drop", "pause", "hold", "cancel")
LONGEST_NAME = 128
SESSION_SECONDS = 12 * 3600
NEEDS = ("starlette", "jinja2", "uvicorn")
"""The packages of the extra."""
_ALWAYS = ("localhost",)

RIGHT_OF = {
    "retry": "retry",
    "drop": "drop",
    "pause": "pause",
    "resume": "pause",
    "hold": "hold",
    "release": "hold",
    "cancel": "cancel",
}
"""The right that each act needs."""


@dataclass(frozen=True)
class Options:
    """How the console is served. token: None where nobody needs one.

    user: who started it, and so who acts where nobody signs in. names: further host names that
    browsers reach it by.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    allow: frozenset[str] = frozenset()
    token: str | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()
    user: str = ""


@dataclass(frozen=True)
class Visitor:
    """Who asks. session: the cookie's text, "" for a program with a token. csrf: for its forms.

    is_new: the cookie has to be set.
    """

    name: str
    session: str = ""
    csrf: str = ""
    is_new: bool = False

    @property
    def is_program(self) -> bool:
        """Whether it said the token itself, which no foreign page can make a browser do."""
        return not self.session


def is_loopback(host: str) -> bool:
    """Whether nobody on another machine reaches a server that listens on this host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """Decides by the options. now: Unix seconds."""

    def __init__(self, options: Options, now: Callable[[], float]) -> None:
        self.options = options
        self._now = now
        names = (*_ALWAYS, socket.gethostname(), options.host, *options.names)
        self._names = {name.lower() for name in names if name}
        # With a token, sessions outlive a restart, and end when the token is changed.
        token = options.token
        self._key = secrets.token_bytes(32) if token is None else _digest(token.encode(), "key")

    def is_ours(self, host: str) -> bool:
        """Whether a request for this host is meant for us.

        A page of somebody else whose name was made to lead here (DNS rebinding) has its own name.
        An address can't be made to lead elsewhere.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or _is_address(name)

    def is_token(self, text: str) -> bool:
        """Whether it is the token; in a time that tells nothing about it."""
        token = self.options.token
        return token is not None and hmac.compare_digest(
            _digest(self._key, text), _digest(self._key, token)
        )

    def visitor(self, cookie: str, bearer: str) -> Visitor | None:
        """Who asks, by a cookie or a bearer token, "" for none; None for somebody unknown."""
        if bearer:
            return Visitor("api") if self.is_token(bearer) else None
        name = self._name_in(cookie)
        if name is not None:
            return Visitor(name, cookie, self._csrf(cookie))
        return self.sign_in(self.options.user) if self.options.token is None else None

    def sign_in(self, name: str) -> Visitor:
        """A new session of somebody."""
        ends = round(self._now()) + SESSION_SECONDS
        coded = base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")
        said = f"{ends}.{secrets.token_urlsafe(12)}.{coded}"
        session = f"{said}.{_digest(self._key, f'session {said}').hex()}"
        return Visitor(name, session, self._csrf(session), is_new=True)

    def is_form_of(self, visitor: Visitor, csrf: str) -> bool:
        """Whether the form was made for this session."""
        return hmac.compare_digest(visitor.csrf.encode(), csrf.encode())

    def may(self, act: str) -> bool:
        """Whether this console may do it."""
        return RIGHT_OF.get(act) in self.options.allow

    def _csrf(self, session: str) -> str:
        return _digest(self._key, f"form {session}").hex()

    def _name_in(self, cookie: str) -> str | None:
        said, _, seal = cookie.rpartition(".")
        expected = _digest(self._key, f"session {said}").hex()
        if not hmac.compare_digest(seal.encode(), expected.encode()):
            return None
        ends, _, coded = said.split(".")
        if int(ends) < self._now():
            return None
        return base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode()


def _digest(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
