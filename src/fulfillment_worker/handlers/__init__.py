"""Handlers: the shop's code, made callable by the worker.

`load` turns a setting into a LoadedHandler: an async function, a plain function in a thread, or an
HTTP endpoint. A call ends in a Result and never raises: what it means that the shop's code raised
is decided in `result.py`, for all of them.
"""

from fulfillment_worker.handlers.errors import HandlerError
from fulfillment_worker.handlers.handler import LoadedHandler
from fulfillment_worker.handlers.loader import load

__all__ = ["HandlerError", "LoadedHandler", "load"]
