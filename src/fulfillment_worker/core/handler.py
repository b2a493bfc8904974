"""What a shop declares beside its function: what it needs, and what belongs around each attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import KW_ONLY, dataclass

ResourceManager = (
    AbstractAsyncContextManager[Mapping[str, object] | None]
    | AbstractContextManager[Mapping[str, object] | None]
)
AroundManager = AbstractAsyncContextManager[object] | AbstractContextManager[object]


@dataclass(frozen=True)
class Handler:
    """A handler with what it needs; `--handler` names it in the place of a function.

    fulfil: the function, async or plain. It takes the order first, and then by name whatever of the
    resources it wants.

    resources: makes a context manager, async or plain, that yields a dictionary: the resources by
    name. It is entered once in each process, before any order is claimed, and left when the last
    order was given back. Where it can't be entered, the worker isn't ready, and tries again. An
    async one is entered and left on the loop on which async handlers run, in one task; a plain one
    in a thread.

    around: makes a context manager for each attempt; it takes the order, and resources by name, as
    `fulfil` does. It is entered in the task or the thread in which `fulfil` runs, and sees what
    `fulfil` raises. What it raises is as if `fulfil` had raised it. An async one can surround a
    plain function, too: it is then entered and left on the loop.

    Nothing is called or checked before the worker loads it.
    """

    fulfil: Callable[..., object]
    _: KW_ONLY
    resources: Callable[[], ResourceManager] | None = None
    around: Callable[..., AroundManager] | None = None
