"""Libraries that put their own threads and sockets in the place of Python's.

The worker's threads and its event loop would be theirs then, and it would hang without a word.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from fulfillment_worker.handlers.errors import HandlerError

# The module that patches, its function that tells, and what a shop calls.
_PATCHERS = (
    ("gevent.monkey", "is_module_patched", "gevent.monkey.patch_all"),
    ("eventlet.patcher", "is_monkey_patched", "eventlet.monkey_patch"),
)
_PATCHED = ("thread", "_thread", "threading", "socket", "select", "selectors", "ssl", "time", "os")


def refuse_patches(module: str) -> None:
    """Raise HandlerError where importing `module` has patched the standard library."""
    for patcher, tells, call in _PATCHERS:
        is_patched: Callable[[str], bool] | None
        is_patched = getattr(sys.modules.get(patcher), tells, None)
        if is_patched and any(is_patched(name) for name in _PATCHED):
            raise HandlerError(
                f"module {module!r} calls {call}, or what it imports does, and the worker can't "
                "run on patched threads and sockets: leave the call out (a plain `def` runs in a "
                "thread), or serve the handler over HTTP and give its URL"
            )
