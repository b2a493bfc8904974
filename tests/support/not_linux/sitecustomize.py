"""Takes away what only Linux has, as far as Python can: Python imports this at its start by itself,
where the folder is on its path.

It shows that nothing of it is needed. It is no Mac: what a Mac does otherwise stays unseen.
"""

from __future__ import annotations

import builtins
import fcntl
import io
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

_ONLY_LINUX: dict[Any, tuple[str, ...]] = {
    os: (
        *("pidfd_open", "pipe2", "memfd_create", "eventfd", "sched_getaffinity", "splice"),
        *("posix_fadvise", "setresuid", "getresuid", "waitid", "O_PATH", "O_TMPFILE"),
    ),
    select: ("epoll",),
    signal: ("sigwaitinfo", "sigtimedwait", "SIGRTMIN", "SIGRTMAX", "SIGPWR", "SIGSTKFLT"),
    socket: ("SOCK_CLOEXEC", "SOCK_NONBLOCK", "SO_PEERCRED", "TCP_KEEPIDLE", "SOCK_SEQPACKET"),
    fcntl: ("F_SETSIG", "F_GETSIG", "F_SETPIPE_SZ"),
}
_LINUX_FILES = ("/proc/", "/sys/")


def _hiding(opened: Callable[..., Any]) -> Callable[..., Any]:
    def open_elsewhere(path: Any, *args: Any, **more: Any) -> Any:
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(_LINUX_FILES):
            raise FileNotFoundError(2, "No such file or directory", path)
        return opened(path, *args, **more)

    return open_elsewhere


assert "asyncio" not in sys.modules, "imported too late"
# Made anew without what is gone; `socket` has imported it.
sys.modules.pop("selectors", None)
for _module, _names in _ONLY_LINUX.items():
    for _name in _names:
        if hasattr(_module, _name):
            delattr(_module, _name)
builtins.open = io.open = _hiding(builtins.open)
os.open = _hiding(os.open)
