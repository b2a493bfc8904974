"""The names under which workers hold orders."""

from __future__ import annotations

import os
import secrets
import socket


def worker_name() -> str:
    """`host-pid-random`: new for each process, and after each lost lease.

    Whoever holds orders under the old name is fenced off, this very process included.
    """
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
