"""What the handlers' tests share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fulfillment_worker import Order


@pytest.fixture
def make_order() -> Callable[..., Order]:
    """An order; keyword arguments replace its fields."""

    def make(**fields: Any) -> Order:
        body = fields.pop("body", {"order_id": "A-1"})
        known: dict[str, Any] = {
            "id": "A-1",
            "attempt": 1,
            "body": body,
            "raw": msgspec.json.encode(body),
            "queue": "orders",
        }
        return Order(**known | fields)

    return make


@pytest.fixture
def order(make_order: Callable[..., Order]) -> Order:
    return make_order()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A shop's empty folder as the working directory; call it with `module="source"` to fill it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)

    def write(**sources: str) -> None:
        for module, source in sources.items():
            file = tmp_path / (module.replace("__in__", "/") + ".py")
            file.parent.mkdir(exist_ok=True)
            file.write_text(source, encoding="utf-8")

    yield write
    for module in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[module], "__spec__", "")):
            del sys.modules[module]
