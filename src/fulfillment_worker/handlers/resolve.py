"""From `package.module:attribute` to the object of that name."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import sys
import traceback
from pathlib import Path

from fulfillment_worker.core.redaction import quoted
from fulfillment_worker.handlers.errors import HandlerError
from fulfillment_worker.handlers.patches import refuse_patches


def resolve(spec: str) -> object:
    """Import the module, follow the attributes. Raises HandlerError, saying which step failed."""
    module, attributes = _split(spec)
    _put_working_directory_first()
    found = _import(module)
    refuse_patches(module)
    path = module
    for name in attributes:
        found = _attribute(found, name, path)
        path = f"{path}.{name}"
    return found


def _split(spec: str) -> tuple[str, list[str]]:
    module, colon, path = spec.partition(":")
    if module.endswith(".py") or "/" in module:
        name = module.removesuffix(".py").strip("./").replace("/", ".")
        raise HandlerError(
            f"{quoted(spec)} is a path; name the module instead, like '{name}:fulfil'"
        )
    parts = [*module.split("."), *path.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise HandlerError(
            f"{quoted(spec)} is neither package.module:function nor an http(s):// URL"
        )
    return module, path.split(".")


def _put_working_directory_first() -> None:
    with contextlib.suppress(FileNotFoundError):  # a working directory can be deleted
        here = str(Path.cwd())
        if sys.path[:1] != [here]:
            sys.path.insert(0, here)


def _import(name: str) -> object:
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise  # that is the operator, not the module
    except BaseException as error:
        raise HandlerError(_why_not_imported(name, error)) from error


def _why_not_imported(name: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and _leads_to(error.name, name):
        return f"module {error.name!r} not found, neither in {_here()} nor installed"
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"module {name!r} can't be imported: {said}{_where(error)}"


def _leads_to(missing: str | None, name: str) -> bool:
    # Any other module is one that the handler's own code looked for.
    return missing is not None and f"{name}.".startswith(f"{missing}.")


def _here() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return "the working directory"


def _where(error: BaseException) -> str:
    # The first two frames are _import's and import_module's own.
    frames = traceback.extract_tb(error.__traceback__)[2:]
    lines = [frame for frame in frames if not frame.filename.startswith("<frozen")]
    return f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else ""


def _attribute(owner: object, name: str, path: str) -> object:
    try:
        return getattr(owner, name)
    except AttributeError:
        near = difflib.get_close_matches(name, _public(owner), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise HandlerError(f"{path!r} has no {name!r}{hint}") from None
    except Exception as error:
        raise HandlerError(f"{path}.{name} raised {type(error).__name__}: {error}") from error


def _public(owner: object) -> list[str]:
    return [name for name in dir(owner) if not name.startswith("_")]
