"""From the handler setting to a LoadedHandler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fulfillment_worker.config.values import handlers_by_queue
from fulfillment_worker.core.handler import Handler
from fulfillment_worker.handlers.check import check, is_async
from fulfillment_worker.handlers.errors import HandlerError
from fulfillment_worker.handlers.function import AsyncFunction, PlainFunction
from fulfillment_worker.handlers.per_queue import HandlerPerQueue
from fulfillment_worker.handlers.resolve import resolve
from fulfillment_worker.handlers.shop_handler import ShopHandler

if TYPE_CHECKING:
    from fulfillment_worker.handlers.handler import LoadedHandler


def load(spec: str, *, order_timeout: float, concurrency: int | None = None) -> LoadedHandler:
    """The handler that `spec` names: `package.module:name` of a function or a Handler, or an http(s)://
    URL; or one of them for each queue, as in `orders=shop:fulfil,returns=shop:refund`.

    Imports the module, with the working directory first on sys.path, and so runs its code.

    order_timeout: seconds that an attempt may take; bounds each wait of a URL handler.
    concurrency: connections of a URL handler at most; None leaves it to the number of calls.

    Raises HandlerError, whose message is one line without credentials.
    """
    by_queue = handlers_by_queue(spec)
    if by_queue:
        # Handlers of the same name are one: it has its resources once.
        each = {
            name: load(name, order_timeout=order_timeout, concurrency=concurrency)
            for name in dict.fromkeys(by_queue.values())
        }
        return HandlerPerQueue({queue: each[name] for queue, name in by_queue.items()})
    if "://" in spec:
        return _endpoint(spec, order_timeout, concurrency)
    found = resolve(spec)
    if isinstance(found, Handler):
        return ShopHandler(found, spec)
    function = check(found, spec)
    return AsyncFunction(function, spec) if is_async(function) else PlainFunction(function, spec)


def _endpoint(url: str, order_timeout: float, concurrency: int | None) -> LoadedHandler:
    try:
        # Here and not above: httpx is an optional dependency, and slow to import.
        from fulfillment_worker.handlers.http import endpoint  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise HandlerError(
            "a URL needs the package httpx: pip install 'fulfillment-worker[http]'"
        ) from None
    return endpoint(url, order_timeout=order_timeout, concurrency=concurrency)
