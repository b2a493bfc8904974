"""An address that leads nowhere: nothing is refused, and nothing is answered."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_ENOUGH = 4


@contextmanager
def black_hole() -> Iterator[int]:
    """A port of this machine: who connects hears nothing, as if packets were dropped on the way."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # The kernel drops what comes once the queue of a listener that accepts nothing is full.
        for _ in range(_ENOUGH):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])
