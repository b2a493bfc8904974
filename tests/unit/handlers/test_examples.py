"""The examples do what their first lines say."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from fulfillment_worker import Order
from fulfillment_worker.core.outcome import (
    SUCCEEDED,
    Deferred,
    Failed,
    FailureReason,
    Rejected,
    Result,
)
from fulfillment_worker.handlers import LoadedHandler, load
from tests.support.attempt import OneAttempt

EXAMPLES = Path(__file__).parents[3] / "examples"
NAMES = ("shop", "plain", "http_endpoint")
TEA = {"items": [{"sku": "TEA-SENCHA", "quantity": 2}], "ship_to": "221B Baker Street"}


@pytest.fixture(autouse=True)
def _inside_examples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    # The folder is on the path, but what the examples write goes elsewhere.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    yield
    for name in NAMES:
        sys.modules.pop(name, None)


def loaded(spec: str) -> tuple[LoadedHandler, ModuleType]:
    handler = load(spec, order_timeout=120)
    return handler, sys.modules[spec.partition(":")[0]]


async def result_of(handler: LoadedHandler, order: Order) -> Result:
    return await handler(order, OneAttempt())


async def test_shop_fulfils_an_order_once(make_order: Callable[..., Order]) -> None:
    fulfil, shop = loaded("shop:fulfil")
    before = shop.stock["TEA-SENCHA"]
    for attempt in (1, 2):
        assert await result_of(fulfil, make_order(body=TEA, attempt=attempt)) is SUCCEEDED
    assert shop.stock["TEA-SENCHA"] == before - 2
    assert shop.parcels == {"orders:A-1": "221B Baker Street"}


@pytest.mark.parametrize(
    ("change", "kind", "error"),
    [
        ({"items": []}, Rejected, "items or ship_to is missing"),
        ({"ship_to": ""}, Rejected, "items or ship_to is missing"),
        ({"items": [{"sku": "GOLD", "quantity": 1}]}, Rejected, "no such SKU: GOLD"),
        ({"items": [{"sku": "MUG-BLUE", "quantity": 300}] * 2}, Deferred, "out of stock"),
    ],
)
async def test_shop_refuses(
    make_order: Callable[..., Order],
    change: dict[str, object],
    kind: type[Deferred | Rejected],
    error: str,
) -> None:
    fulfil, shop = loaded("shop:fulfil")
    stock = dict(shop.stock)
    result = await result_of(fulfil, make_order(body=TEA | change))
    assert isinstance(result, kind)
    assert error in (result.error if isinstance(result, Rejected) else result.why)
    assert shop.stock == stock


async def test_shop_waits_for_the_carrier(
    make_order: Callable[..., Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    fulfil, shop = loaded("shop:fulfil")

    async def down(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(shop, "book_parcel", down)
        result = await result_of(fulfil, make_order(body=TEA))
    assert isinstance(result, Failed)
    assert result.error.startswith("the carrier can't be reached")
    assert (result.reason, result.after) == (FailureReason.DEPENDENCY, 30)
    assert await result_of(fulfil, make_order(body=TEA, attempt=2)) is SUCCEEDED
    assert len(shop.parcels) == len(shop.reserved) == 1


async def test_plain_writes_an_order_once(make_order: Callable[..., Order], tmp_path: Path) -> None:
    fulfil, _ = loaded("plain:fulfil")
    for attempt in (1, 2):
        assert await result_of(fulfil, make_order(body=TEA, attempt=attempt)) is SUCCEEDED
    await fulfil.close()
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        rows = database.execute("SELECT * FROM shipped").fetchall()
    assert rows == [("orders:A-1", "221B Baker Street")]


@pytest.fixture
def url() -> Iterator[str]:
    import http_endpoint  # type: ignore[import-not-found]  # noqa: PLC0415

    http_endpoint.Orders.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), http_endpoint.Orders) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/orders"
        server.shutdown()
        thread.join()


async def test_the_endpoint_fulfils_an_order_once(
    make_order: Callable[..., Order], url: str
) -> None:
    handler = load(url, order_timeout=120)
    for attempt in (1, 2):
        assert await result_of(handler, make_order(body=TEA, attempt=attempt)) is SUCCEEDED
    rejected = await result_of(handler, make_order(id="A-2", body={"order_id": "A-2"}))
    assert isinstance(rejected, Rejected)
    assert "answered 422" in rejected.error
    await handler.close()
    assert sys.modules["http_endpoint"].shipped == {"orders:A-1": "221B Baker Street"}


def test_the_shell_producer_is_well_formed() -> None:
    subprocess.run(["sh", "-n", EXAMPLES / "producers" / "enqueue.sh"], check=True)


def test_every_producer_pushes_on_the_list_and_nothing_else() -> None:
    for file in EXAMPLES.glob("producers/enqueue.*"):
        source = file.read_text(encoding="utf-8").lower()
        assert "lpush" in source, file
        assert "order_id" in source, file


def test_the_python_producer_compiles() -> None:
    file = EXAMPLES / "producers" / "enqueue.py"
    compile(file.read_text(encoding="utf-8"), file, "exec")


def test_the_readme_names_every_example() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    files = [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("producers/enqueue.*")]
    assert len(files) == 9
    assert all(f"({file.relative_to(EXAMPLES)})" in readme for file in files)
