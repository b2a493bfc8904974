"""The one place through which observability is told what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from fulfillment_worker.core.events import Event


class Observer(Protocol):
    """Anything that wants to know what happened: metrics, logs, traces."""

    def observe(self, event: Event) -> None:
        """Take notice of one event, quickly: it is called on the worker's event loop."""
        ...


class Observers:
    """Tells each observer of each event; a fault of one reaches neither orders nor the others.

    on_fault: called with no argument when an observer raised; it must not raise.
    """

    def __init__(self, observers: Iterable[Observer], on_fault: Callable[[], None]) -> None:
        self._observe = tuple(observer.observe for observer in observers)
        self._on_fault = on_fault

    def observe(self, event: Event) -> None:
        """Pass the event on. Never raises an Exception."""
        for observe in self._observe:
            try:
                observe(event)
            except Exception:  # noqa: BLE001 - watching must never hurt an order
                self._on_fault()
