"""Working on queues on behalf of a command, and of the person who gave it."""

from __future__ import annotations

import getpass
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fulfillment_worker.admin.operator import Operator
from fulfillment_worker.admin.redis_client import connected
from fulfillment_worker.cli.options import Command, own_option
from fulfillment_worker.config.settings import Settings
from fulfillment_worker.config.values import Text

_LONGEST_BY, _LONGEST_WHY = 128, 1000


@asynccontextmanager
async def operators(
    settings: Settings, by: str | None = None, why: str | None = None
) -> AsyncIterator[dict[str, Operator]]:
    """One operator for each queue, in the order of preference. Raises QueueUnavailable.

    by, why: as the audit tells it; by default the user who runs this.
    """
    async with connected(settings.redis_url) as client:
        yield {
            queue: Operator(client, queue, settings.redis_url, by=by or myself(), why=why or "")
            for queue in settings.queues
        }


def audited(command: Command) -> Command:
    """Give a command the options that say who acts, and why."""
    by = own_option("--by", Text(_LONGEST_BY), None, "who does this  [default: user@host]")
    why = own_option("--why", Text(_LONGEST_WHY), None, "the reason, for the audit")
    return by(why(command))


def myself() -> str:
    """Who runs this command, as far as the system knows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user id without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
