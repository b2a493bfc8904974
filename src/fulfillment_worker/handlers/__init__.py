"""Handlers: the shop's code, made callable by the worker.

`load` turns a setting into a Handler: an async function, a plain function in a thread, or an
HTTP endpoint. A call returns when the order is fulfilled, and otherwise raises Retry, Reject or
another Exception. CancelledError leaves a call only when its task was cancelled; nothing that
would end a process (SystemExit, KeyboardInterrupt) ever leaves one.
"""

from fulfillment_worker.handlers.errors import Escaped, HandlerError
from fulfillment_worker.handlers.handler import Handler
from fulfillment_worker.handlers.loader import load

__all__ = ["Escaped", "Handler", "HandlerError", "load"]
