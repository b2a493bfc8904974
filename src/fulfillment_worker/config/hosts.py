"""Names of hosts."""

from __future__ import annotations


def resolvable(name: str) -> bool:
    """Whether a resolver can be asked for the name; whether there is such a host, only it knows.

    `socket.getaddrinfo` raises no OSError over a part that is empty or above 63 characters, but a
    UnicodeError, since it encodes the name first.
    """
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return True
