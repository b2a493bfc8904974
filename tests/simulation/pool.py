"""Worlds in processes of their own, one for each core, each with a server of its own."""

from __future__ import annotations

import gc
import logging
import os
import tempfile
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process, util
from pathlib import Path
from threading import Thread

from tests.simulation.server import Server
from tests.simulation.world import Outcome, run_world

_AHEAD = 2
"""Worlds given to a process before it has ended the last."""
_server: list[Server] = []


@contextmanager
def servers() -> Iterator[Server]:
    """A server for worlds, with its data in memory where there is room for it."""
    memory = Path("/dev/shm")
    folder = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix="simulation-") as path,
        Server(Path(path)) as server,
    ):
        yield server


def run_apart(seeds: Iterable[int], jobs: int) -> Generator[Outcome, None, None]:
    """The worlds of these seeds, as they end. Closed before the last, it drops the rest."""
    left = iter(seeds)
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin) as pool:
        running = {pool.submit(_run, seed) for seed in islice(left, _AHEAD * jobs)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(_run, seed) for seed in islice(left, len(done))}
                yield from sorted((each.result() for each in done), key=lambda each: each.seed)
        finally:
            _drop(running)


def _drop(running: set[Future[Outcome]]) -> None:
    for each in running:
        each.cancel()


def _begin() -> None:
    """In a new process: start its server, which ends with it; and it ends with its parent."""
    logging.disable(logging.CRITICAL)
    gc.freeze()  # Each world ends with a collection, which need not look at all modules.
    stack = ExitStack()
    _server.append(stack.enter_context(servers()))
    util.Finalize(None, stack.close, exitpriority=1)
    Thread(target=_end_with_parent, args=(stack,), daemon=True).start()


def _end_with_parent(stack: ExitStack) -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    stack.close()
    os._exit(1)


def _run(seed: int) -> Outcome:
    return run_world(_server[0], seed)
