"""load: from the setting to a handler, or one line that says why not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fulfillment_worker import Order
from fulfillment_worker.core.outcome import SUCCEEDED
from fulfillment_worker.handlers import HandlerError, LoadedHandler, load
from tests.support.attempt import OneAttempt

Project = Callable[..., None]


def loaded(spec: str) -> LoadedHandler:
    return load(spec, order_timeout=60)


def refusal(spec: str) -> str:
    with pytest.raises(HandlerError) as caught:
        loaded(spec)
    message = str(caught.value)
    assert "\n" not in message
    return message


KINDS = """
import asyncio, functools

seen = []

async def asynchronous(order): seen.append(order.id)
def plain(order): seen.append(order.id)

async def with_shop(shop, order): seen.append(order.id)
bound = functools.partial(with_shop, "shop")
bound_twice = functools.partial(functools.partial(with_shop), "shop")
bound_plain = functools.partial(lambda shop, order: seen.append(order.id), "shop")

class Warehouse:
    async def fulfil(self, order): seen.append(order.id)
    def fulfil_plain(self, order): seen.append(order.id)
    @staticmethod
    async def static(order): seen.append(order.id)
    @classmethod
    async def of_class(cls, order): seen.append(order.id)

class Callable:
    async def __call__(self, order): seen.append(order.id)

class PlainCallable:
    def __call__(self, order): seen.append(order.id)

warehouse, callable_, plain_callable = Warehouse(), Callable(), PlainCallable()
bound_callable = functools.partial(callable_)

def keeps_async(function):
    @functools.wraps(function)
    async def wrapper(*args, **kwargs): return await function(*args, **kwargs)
    return wrapper

def passes_on(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs): return function(*args, **kwargs)
    return wrapper

def makes_plain(function):
    @functools.wraps(function)
    def wrapper(order): asyncio.run(function(order))
    return wrapper

def adds_argument(function):
    @functools.wraps(function)
    async def wrapper(order): return await function("shop", order)
    return wrapper

decorated = keeps_async(asynchronous)
passed_on = passes_on(asynchronous)
made_plain = makes_plain(asynchronous)
with_added = adds_argument(with_shop)
defaults = lambda order, retries=3: seen.append(order.id)
cached = functools.lru_cache(plain)
append = seen.append
"""


@pytest.mark.parametrize(
    ("attribute", "blocking"),
    [
        ("asynchronous", False),
        ("plain", True),
        ("bound", False),
        ("bound_twice", False),
        ("bound_plain", True),
        ("warehouse.fulfil", False),
        ("warehouse.fulfil_plain", True),
        ("Warehouse.static", False),
        ("Warehouse.of_class", False),
        ("callable_", False),
        ("plain_callable", True),
        ("bound_callable", False),
        ("decorated", False),
        ("passed_on", True),
        ("made_plain", True),
        ("with_added", False),
        ("defaults", True),
    ],
)
async def test_tells_async_from_plain(
    project: Project, order: Order, attribute: str, blocking: bool
) -> None:
    project(kinds=KINDS)
    handler = loaded(f"kinds:{attribute}")
    assert handler.blocking is blocking
    assert handler.name == f"kinds:{attribute}"
    assert await handler(order, OneAttempt()) is SUCCEEDED
    await handler.close()
    assert sys.modules["kinds"].seen == ["A-1"]


@pytest.mark.parametrize("attribute", ["cached", "append"])
def test_callables_written_in_c_are_plain(project: Project, attribute: str) -> None:
    project(kinds=KINDS)
    assert loaded(f"kinds:{attribute}").blocking


def test_looks_in_the_working_directory_first(project: Project, tmp_path: Path) -> None:
    project(this="async def fulfil(order): ...")  # the standard library has one too
    sys.modules.pop("this", None)
    loaded("this:fulfil")
    assert sys.path[0] == str(tmp_path)
    loaded("this:fulfil")
    assert sys.path.count(str(tmp_path)) == 1


def test_a_module_in_a_package(project: Project) -> None:
    project(shop__in__warehouse="async def fulfil(order): ...")
    assert loaded("shop.warehouse:fulfil").name == "shop.warehouse:fulfil"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("nowhere:fulfil", "module 'nowhere' not found, neither in "),
        ("nowhere.shop:fulfil", "module 'nowhere' not found"),
        ("shop.missing:fulfil", "module 'shop.missing' not found"),
        ("json:fulfil", "'json' has no 'fulfil'"),
        ("shop:fulfill", "'shop' has no 'fulfill'; did you mean 'fulfil'?"),
        ("shop:Warehouse.fulfill", "'shop.Warehouse' has no 'fulfill'; did you mean 'fulfil'?"),
        ("shop:Warehouse", "shop:Warehouse is a class; name a function"),
        ("shop:Warehouse.fulfil", "it takes self, order; a method needs an instance"),
        ("shop:json", "shop:json is a module; name a function in it"),
        ("shop:number", "shop:number is of type int, which can't be called"),
        ("shop:coroutine", "shop:coroutine is a coroutine, not a function: leave out the call's"),
        ("shop:nothing", "must take one argument, the order, but it takes nothing"),
        ("shop:two", "must take one argument, the order, but it takes order, retries"),
        ("shop:keyword", "must take one argument, the order, but it takes order"),
        ("shop:generator", "shop:generator is a generator function"),
        ("shop:async_generator", "shop:async_generator is a generator function"),
        ("shop:broken.attribute", "shop.broken.attribute raised ValueError: no"),
        ("shop", "'shop' is neither package.module:function nor an http(s):// URL"),
        ("shop:", "'shop:' is neither"),
        (":fulfil", "':fulfil' is neither"),
        ("", "'' is neither"),
        (".shop:fulfil", "'.shop:fulfil' is neither"),
        ("shop:fulfil()", "'shop:fulfil()' is neither"),
        ("./my/shop.py:fulfil", "is a path; name the module instead, like 'my.shop:fulfil'"),
        ("shop.py:fulfil", "is a path; name the module instead, like 'shop:fulfil'"),
    ],
)
def test_says_in_one_line_why_not(project: Project, spec: str, expected: str) -> None:
    project(
        shop="""
import json
async def fulfil(order): ...
class Warehouse:
    def fulfil(self, order): ...
number = 1
coroutine = fulfil(None)
def nothing(): ...
def two(order, retries): ...
def keyword(*, order): ...
def generator(order): yield
async def async_generator(order): yield
class Broken:
    @property
    def attribute(self): raise ValueError("no")
broken = Broken()
"""
    )
    assert expected in refusal(spec)
    if "shop" in sys.modules:
        sys.modules["shop"].coroutine.close()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import psycopg_missing", "ModuleNotFoundError: No module named 'psycopg_missing'"),
        ("from json import nonsense", "ImportError: cannot import name 'nonsense' from 'json'"),
        ("def fulfil(order:", "SyntaxError: '(' was never closed (shop.py, line 1)"),
        ("import sys\nsys.exit('bye')", "SystemExit: bye (shop.py, line 2)"),
        ("raise SystemExit", "SystemExit (shop.py, line 1)"),
        ("raise GeneratorExit", "GeneratorExit (shop.py, line 1)"),
        ("1 / 0", "ZeroDivisionError: division by zero (shop.py, line 1)"),
        (
            "raise ValueError('two\\nlines\\x1b[31m')",
            r"ValueError: two lines\x1b[31m (shop.py, line 1)",
        ),
        ("import helper", "KeyError: 'x' (helper.py, line 1)"),
    ],
)
def test_says_what_a_module_raised(project: Project, source: str, expected: str) -> None:
    project(shop=source, helper="{}['x']")
    message = refusal("shop:fulfil")
    assert message.startswith("module 'shop' can't be imported: ")
    assert expected in message


def test_keeps_what_a_module_raised_as_the_cause(project: Project) -> None:
    project(shop="1 / 0")
    with pytest.raises(HandlerError) as caught:
        loaded("shop:fulfil")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_ctrl_c_during_the_import_is_the_operator(project: Project) -> None:
    project(shop="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        loaded("shop:fulfil")


def test_a_deleted_working_directory(project: Project, tmp_path: Path) -> None:
    tmp_path.rmdir()
    assert "neither in the working directory nor installed" in refusal("nowhere:fulfil")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ftp://user:hunter2@host/", "the URL must begin with http:// or https://"),
        ("http://", "the URL names no host"),
        ("https:///orders", "the URL names no host"),
        ("http://user:hunter2/@host/", "the URL is malformed"),
        ("http://user:hunter2@host:port/", "the URL is malformed"),
        ("http://user:1#hunter2@host/", "the URL has a # in it"),
        ("user:hunter2@host", "'***@host' is neither"),
        ("user/x:hunter2@host", "'***@host' is a path"),
    ],
)
def test_a_bad_url_is_refused_without_its_secrets(url: str, expected: str) -> None:
    message = refusal(url)
    assert expected in message
    assert "hunter2" not in message


def test_a_url_without_httpx_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fulfillment_worker.handlers.http", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    assert "pip install 'fulfillment-worker[http]'" in refusal("http://127.0.0.1/")


def test_another_missing_module_is_not_blamed_on_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fulfillment_worker.handlers.http", raising=False)
    monkeypatch.setitem(sys.modules, "certifi", None)
    with pytest.raises(ModuleNotFoundError, match="certifi"):
        loaded("http://127.0.0.1/")
