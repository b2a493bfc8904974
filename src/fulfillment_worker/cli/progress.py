"""A progress bar, where somebody watches and there is something to watch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(what: str, total: int, *, worth: int) -> Iterator[Callable[[int], object]]:
    """A bar on standard error; gives a function to be told of each advance.

    It stays away where standard error is no terminal, or `total` is less than `worth`.
    """
    if total < worth or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - slow to load, and rarely needed
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda advance: bar.advance(task, advance)
