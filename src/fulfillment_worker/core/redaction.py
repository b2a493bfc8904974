"""Texts without secrets: whatever looks like a credential is replaced by `***`."""

from __future__ import annotations

import re

from fulfillment_worker.core.text import clipped

_MASK = "***"

# Userinfo of a URL; what stands for its host, where only a password was given; a parameter, or a
# key of JSON or of a dict, whose name says that its value is secret; the token of an Authorization
# header.
_USERINFO = re.compile(r"(?<=://)[^/\s]*@")
_ONLY_A_PASSWORD = re.compile(r"(?<=://):(?!\d{1,5}\b)[^/?\s'\"]+")
_SECRET_NAME = r"[\w-]*(?:password|passwd|secret|token|api[_-]?key|authorization)"
_SECRET = re.compile(rf"(?i)\b({_SECRET_NAME})=[^&\s'\"]+")
_SECRET_KEY = re.compile(rf"(?i)((['\"]){_SECRET_NAME}\2\s*:\s*)(['\"]).*?\3")
_BEARER = re.compile(r"(?i)\bbearer\s+(?=\S*\d)[\w\-.=+/~]{12,}")
_SECRET_FIELD = re.compile(rf"(?i){_SECRET_NAME}")
_LONGEST_NAME = 100
_LONGEST_VALUE = 100


def redact(text: str) -> str:
    """Any text, without what looks like credentials in it."""
    if "://" in text:
        text = _ONLY_A_PASSWORD.sub(_MASK, _USERINFO.sub(f"{_MASK}@", text))
    if "=" in text:
        text = _SECRET.sub(rf"\1={_MASK}", text)
    if ":" in text:
        text = _SECRET_KEY.sub(rf"\1\3{_MASK}\3", text)
    return _BEARER.sub(f"Bearer {_MASK}", text) if "earer " in text else text


def redacted(text: str, longest: int) -> str:
    """Any text without credentials, at most so many characters long.

    Of a huge text only the beginning is looked at: twice as much as is shown, so that no
    credential is cut in two where it could be seen.
    """
    return clipped(redact(text[: 2 * longest]), longest)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a credential."""
    return bool(name) and _SECRET_FIELD.fullmatch(name[:_LONGEST_NAME]) is not None


def redact_url(text: str) -> str:
    """A value that was given as a URL, without what may be a secret.

    The URL that has to be shown most often is a malformed one. So it masks more than `redact` does
    in a text: all before the last `@`, and the value of each parameter.
    """
    scheme, separator, rest = text.partition("://") if "://" in text else ("", "", text)
    if "@" in rest:
        rest = f"{_MASK}@{rest.rpartition('@')[2]}"
    elif separator and _may_hold_a_password(rest):
        rest = _MASK
    if separator:
        path, mark, query = rest.partition("?")
        rest = path + mark + re.sub(r"=[^&]*", f"={_MASK}", query)
    return f"{scheme}{separator}{rest}"


def quoted(text: str) -> str:
    """A value that a user gave, in quotes for a message: redacted, on one line, cut where long."""
    safe = redact_url(text)
    return repr(safe if len(safe) <= _LONGEST_VALUE else f"{safe[: _LONGEST_VALUE - 3]}...")


def _may_hold_a_password(rest: str) -> bool:
    # `redis://:secret` forgets the host: what looks like a port is the password.
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    ports = re.sub(r"\[[^\]]*\]", "", authority).split(",")
    return any(":" in port and not re.search(r":\d{1,5}$", port) for port in ports)
