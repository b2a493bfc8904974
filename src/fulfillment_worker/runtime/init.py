"""What process 1 has to do: end what is left behind, and pass signals on.

In a container the worker would be process 1 itself. Whatever the programs that its handler starts
leave behind becomes a child of process 1, and stays a zombie until that asks how it ended. A worker
can't ask for all of its children: it would take the answer from the handler's own `subprocess`. So
process 1 does nothing else, and the worker is its child.
"""

from __future__ import annotations

import os
import signal

_SENT_BY_THE_KERNEL = 0x80
"""SI_KERNEL: a terminal has sent it, and has sent it to the worker, too."""


def leave_process_1() -> None:
    """Return in a child of process 1, where this is process 1. Call it before all else."""
    if os.getpid() == 1:
        go_on_in_a_child()


def go_on_in_a_child() -> None:
    """Return in a child; this process sees it out, and exits as it does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    worker = os.fork()
    if worker:
        os._exit(_see_out(worker))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _see_out(worker: int) -> int:
    while True:
        came = signal.sigwaitinfo(signal.valid_signals())
        if came.si_signo == signal.SIGCHLD:
            code = _reap(worker)
            if code is not None:
                return code
        elif came.si_code != _SENT_BY_THE_KERNEL:
            os.kill(worker, came.si_signo)


def _reap(worker: int) -> int | None:
    """Of all that have ended; returns the exit code of the worker, if it is one of them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if not pid:
            return code
        if pid == worker:
            ended = os.waitstatus_to_exitcode(status)
            code = 128 - ended if ended < 0 else ended
