"""Texts for the log: what looks like a credential is blotted out, and what is long is cut."""

from __future__ import annotations

import re

# userinfo of a URL; a parameter, or a key of JSON or of a dict, whose name says that its value is
# secret; and the token of an Authorization header.
_USERINFO = re.compile(r"(?<=://)[^/\s]*@")
_SECRET_NAME = r"[\w-]*(?:password|passwd|secret|token|api[_-]?key|authorization)"
_SECRET = re.compile(rf"(?i)\b({_SECRET_NAME})=[^&\s'\"]+")
_SECRET_KEY = re.compile(rf"(?i)((['\"]){_SECRET_NAME}\2\s*:\s*)(['\"]).*?\3")
_BEARER = re.compile(r"(?i)\bbearer\s+(?=\S*\d)[\w\-.=+/~]{12,}")
_SECRET_FIELD = re.compile(rf"(?i){_SECRET_NAME}")
_LONGEST_NAME = 100


def redact(text: str) -> str:
    """The text without what looks like credentials."""
    if "://" in text:
        text = _USERINFO.sub("***@", text)
    if "=" in text:
        text = _SECRET.sub(r"\1=***", text)
    if ":" in text:
        text = _SECRET_KEY.sub(r"\1\3***\3", text)
    return _BEARER.sub("Bearer ***", text) if "earer " in text else text


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a credential."""
    return bool(name) and _SECRET_FIELD.fullmatch(name[:_LONGEST_NAME]) is not None


def clipped(text: str, longest: int) -> str:
    """At most so many characters, and a sign where there were more."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def shown(text: str, longest: int) -> str:
    """The text without credentials, at most so many characters long.

    Of a huge text only the beginning is looked at: twice as much as is shown, so that no
    credential is cut in two where it could be seen.
    """
    return clipped(redact(text[: 2 * longest]), longest)
