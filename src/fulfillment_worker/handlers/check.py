"""Whether an object can be a handler, and of which kind."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from fulfillment_worker.handlers.errors import HandlerError


def check(found: object, spec: str, *, takes_more: bool = False) -> Callable[..., Any]:
    """`found`, if it can be called with one order. Raises HandlerError, saying why it can't.

    takes_more: it may take further arguments by name.
    """
    if not callable(found) or isinstance(found, type):
        raise HandlerError(f"{spec} is {_described(found)}")
    if _is(inspect.isgeneratorfunction, found) or _is(inspect.isasyncgenfunction, found):
        raise HandlerError(f"{spec} is a generator function, whose code a call doesn't run")
    _check_signature(found, spec, takes_more)
    return found


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a call returns a coroutine for certain.

    Only what is called counts, not what it wraps: a decorator may well make a plain function of
    an async one, and that would block the loop. One that returns a coroutine without saying so
    is called in a thread, and its coroutine is awaited on the loop.
    """
    return _is(inspect.iscoroutinefunction, function)


def _is(kind: Callable[[object], bool], function: object) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return kind(function) or kind(getattr(type(function), "__call__"))  # noqa: B004, B009


def _described(found: object) -> str:
    if inspect.iscoroutine(found):
        found.close()  # or Python would complain that it was never awaited
        return "a coroutine, not a function: leave out the call's parentheses"
    if isinstance(found, type):
        return "a class; name a function, or a method of an instance"
    if isinstance(found, ModuleType):
        return "a module; name a function in it"
    return f"of type {type(found).__name__}, which can't be called"


def _check_signature(function: Callable[..., Any], spec: str, takes_more: bool) -> None:
    try:
        # Not what it wraps: a decorator may add arguments of its own.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return  # some of C's functions don't tell
    try:
        _bind(signature, takes_more)
    except TypeError:
        raise HandlerError(_why_not_called(signature, spec)) from None


def _bind(signature: inspect.Signature, takes_more: bool) -> None:
    if not takes_more:
        signature.bind(None)
        return
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    signature.bind_partial(None)
    names = [each.name for each in signature.parameters.values() if each.kind in kinds]
    signature.bind(None, **dict.fromkeys(names if _first_is_no_name(signature) else names[1:]))


def _first_is_no_name(signature: inspect.Signature) -> bool:
    first = next(iter(signature.parameters.values()))
    return first.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)


def _why_not_called(signature: inspect.Signature, spec: str) -> str:
    names = ", ".join(signature.parameters) or "nothing"
    why = f"{spec} must take one argument, the order, but it takes {names}"
    if next(iter(signature.parameters), "") == "self":
        why += "; a method needs an instance: name it as module:instance.method"
    elif len(signature.parameters) > 1:
        why += "; what it needs besides comes from Handler(function, resources=...)"
    return why
