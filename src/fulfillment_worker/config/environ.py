"""Which environment variables are meant for us."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, MutableMapping
from difflib import get_close_matches

PREFIX = "FULFILLMENT_"
_ADDRESS = r"[0-9A-Fa-f.:]+|None"
_LINK = r"(?:tcp|udp|sctp)://\S+"
# What Kubernetes gives every container for each Service of its namespace: the ends of the names,
# and the values. See "Environment variables" in Kubernetes' page on Services.
_SERVICE_LINKS = (
    (r"SERVICE_HOST", _ADDRESS),
    (r"SERVICE_PORT(?:_\w+)?", r"\d+"),
    (r"PORT", _LINK),
    (r"PORT_\d+_(?:TCP|UDP|SCTP)", _LINK),
    (r"PORT_\d+_(?:TCP|UDP|SCTP)_PROTO", r"tcp|udp|sctp"),
    (r"PORT_\d+_(?:TCP|UDP|SCTP)_PORT", r"\d+"),
    (r"PORT_\d+_(?:TCP|UDP|SCTP)_ADDR", _ADDRESS),
)
_BYTE_ORDER_MARK = "\ufeff"
_EDGES = re.compile(rf"\A[\s{_BYTE_ORDER_MARK}]+|[\s{_BYTE_ORDER_MARK}]+\Z")
_QUOTES = ('""', "''", "``", "\u201c\u201d", "\u2018\u2019")


def trimmed(text: str) -> str:
    """`text` without the white space, line ends and byte order marks that files of others leave."""
    return _EDGES.sub("", text)


def is_quoted(text: str) -> bool:
    """Whether the whole text is in quotes: a shell takes them off, `docker --env-file` does not."""
    return len(text) > 1 and text[0] + text[-1] in _QUOTES


def is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes set the variable, for a Service whose name begins with `fulfillment`."""
    return any(
        re.fullmatch(rf"{PREFIX}(?:\w+_)?{ending}", name) and re.fullmatch(form, value)
        for ending, form in _SERVICE_LINKS
    )


def unknown_variables(environ: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """A fault for each variable that looks like a setting but is none, with the nearest one."""
    names = list(known)
    return [
        _marked(name) if name.startswith(_BYTE_ORDER_MARK) else _unknown(name, names)
        for name, value in sorted(environ.items())
        if name.removeprefix(_BYTE_ORDER_MARK).startswith(PREFIX)
        and name not in names
        and not is_service_link(name, value)
    ]


def _marked(name: str) -> str:
    return (
        f"{name[1:81]} has a byte order mark before it, so it is no setting: "
        "save the file that it comes from as UTF-8 without one (without BOM)"
    )


def _unknown(name: str, known: list[str]) -> str:
    # Without the prefix that all share, likeness says something.
    endings = [ours.removeprefix(PREFIX) for ours in known if ours.startswith(PREFIX)]
    nearest = get_close_matches(name.removeprefix(PREFIX), endings, n=1, cutoff=0.0)[0]
    return f"{name[:80]} is not a setting: did you mean {PREFIX}{nearest}? Rename it or unset it"


def drop_unusable(environ: MutableMapping[str, str]) -> list[str]:
    """Take out variables that libraries heed and can't use; returns a line for each.

    With a file of SSLKEYLOGFILE that can't be written, Python makes no TLS connection at all.
    """
    path = environ.get("SSLKEYLOGFILE")
    if not path:
        return []
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    except OSError as error:
        del environ["SSLKEYLOGFILE"]
        return [f"SSLKEYLOGFILE can't be written ({os.strerror(error.errno or 0)}), and is ignored"]
    return []
