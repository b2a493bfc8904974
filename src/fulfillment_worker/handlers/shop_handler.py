"""A `Handler` of the shop's: a function with its resources, and what is around each attempt."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from fulfillment_worker.core.attempt import Attempt
from fulfillment_worker.core.handler import Handler
from fulfillment_worker.core.order import Order
from fulfillment_worker.core.outcome import Result
from fulfillment_worker.handlers.check import check, is_async
from fulfillment_worker.handlers.function import AsyncFunction, PlainFunction
from fulfillment_worker.handlers.resources import Resources, bound, check_maker


class ShopHandler:
    """See LoadedHandler. Raises HandlerError where it can be seen now that it can't work."""

    def __init__(self, declared: Handler, name: str) -> None:
        self.name = name
        self._function = check(declared.fulfil, name, takes_more=True)
        self._around = declared.around
        self.blocking = not is_async(self._function)
        if declared.around is not None:
            check_maker(declared.around, self._around_name)
            check(declared.around, self._around_name, takes_more=True)
        self._resources: Resources | None = None
        if declared.resources is None:
            self._bind({})  # names that nobody provides are found before anything starts
        else:
            resources = f"the resources of {name}"
            check_maker(declared.resources, resources)
            self._resources = Resources(declared.resources, resources)

    async def open(self) -> None:
        """See LoadedHandler."""
        if self._resources is None:
            return
        values = await self._resources.open()
        try:
            self._bind(values)
        except BaseException:
            await self._resources.close()
            raise

    def __call__(self, order: Order, attempt: Attempt) -> Coroutine[Any, Any, Result]:
        """See LoadedHandler."""
        return self._bound(order, attempt)

    async def close(self) -> None:
        """See LoadedHandler."""
        if self._resources is not None:
            await self._resources.close()
        if hasattr(self, "_bound"):
            await self._bound.close()

    def _bind(self, values: Mapping[str, object]) -> None:
        function = bound(self._function, values, self.name)
        around = self._around and bound(self._around, values, self._around_name)
        kind = PlainFunction if self.blocking else AsyncFunction
        self._bound = kind(function, self.name, around)

    @property
    def _around_name(self) -> str:
        return f"what is around {self.name}"
