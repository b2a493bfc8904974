"""What a handler says by raising, and what is told of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fulfillment_worker import Reject, Retry
from fulfillment_worker.admin.rules.causes import normalised
from fulfillment_worker.core.outcome import Deferred, Failed, FailureReason, Rejected
from fulfillment_worker.handlers.result import LONGEST_ERROR, describe, meaning, timed_out

HERE = "tests/unit/handlers/test_result.py"


def failing(error: BaseException) -> Failed | Rejected:
    """What an error means that postpones nothing."""
    result = meaning(error)
    assert not isinstance(result, Deferred)
    return result


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001
        return caught


def group(*errors: Exception, title: str = "unhandled errors in a TaskGroup") -> BaseException:
    return raised(ExceptionGroup(title, errors))


def after(error: BaseException) -> float | None:
    result = meaning(error)
    assert isinstance(result, Failed)
    return result.after


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Retry("x"), FailureReason.DEPENDENCY),
        (ValueError("x"), FailureReason.HANDLER),
        (SystemExit(3), FailureReason.HANDLER),
        (group(Retry("x")), FailureReason.DEPENDENCY),
        (group(Retry("x"), Retry("y")), FailureReason.DEPENDENCY),
        (group(Retry("x"), ValueError("y")), FailureReason.HANDLER),
        (group(ExceptionGroup("inner", [Retry("x")])), FailureReason.DEPENDENCY),
        (BaseExceptionGroup("g", [Retry("x"), SystemExit()]), FailureReason.HANDLER),
        (BaseExceptionGroup("g", [asyncio.CancelledError()]), FailureReason.HANDLER),
    ],
)
def test_failure_has_the_reason_of_what_was_raised(
    error: BaseException, reason: FailureReason
) -> None:
    result = meaning(error)
    assert isinstance(result, Failed)
    assert result.reason is reason


@pytest.mark.parametrize(
    "error",
    [
        Reject("no such SKU"),
        group(Reject("no such SKU")),
        group(Reject("no such SKU"), ValueError("x"), Retry("y", after=5)),
        group(ExceptionGroup("inner", [ExceptionGroup("more", [Reject("no such SKU")])])),
        BaseExceptionGroup(
            "unhandled errors in a TaskGroup", [SystemExit(), Reject("no such SKU")]
        ),
    ],
)
def test_reject_in_a_group_rejects_whatever_is_beside_it(error: BaseException) -> None:
    result = meaning(error)
    assert isinstance(result, Rejected)
    assert result.error == "no such SKU"


def test_retry_in_a_group_waits_as_long_as_the_latest() -> None:
    assert after(group(Retry("x", after=30), Retry("y", after=60), Retry("z"))) == 60
    assert after(group(Retry("x"), ValueError("y"))) is None
    assert after(group(ValueError("x"), ExceptionGroup("g", [Retry("y", after=7)]))) == 7


def test_group_is_described_by_its_exceptions_each_once() -> None:
    def told(*errors: Exception) -> str:
        return normalised(failing(group(*errors)).error)

    one, other = KeyError("a"), ValueError("b")
    place = f"({HERE} in raised)"
    assert told(one) == f"KeyError: 'a' {place}"
    assert told(one, KeyError("a")) == f"KeyError: 'a' {place}"
    assert told(one, other) == told(other, one) == f"KeyError: 'a' {place}; ValueError: b {place}"
    assert told(one) != told(other)
    titled = failing(group(one, title="both carriers failed"))
    assert titled.error.startswith("both carriers failed: KeyError: 'a'")
    many = failing(group(*(ValueError(f"number {number}") for number in range(100))))
    assert many.error.endswith("; and 95 more")


def test_cause_of_an_exception_is_told() -> None:
    def chained(outer: BaseException, cause: BaseException) -> str:
        try:
            raise outer from cause
        except BaseException as error:  # noqa: BLE001
            return normalised(describe(error))

    refused = ConnectionError("refused")
    assert chained(Retry("carrier is down"), refused) == (
        "carrier is down, because of ConnectionError: refused"
    )
    assert chained(RuntimeError("no label"), refused).startswith(
        f"RuntimeError: no label, because of ConnectionError: refused ({HERE} in "
    )
    assert chained(Retry("carrier: refused"), refused) == "carrier: refused"
    assert chained(Retry("x"), raised(refused)) == "x, because of ConnectionError: refused"
    refused.__cause__ = refused
    assert chained(Retry("y"), refused) == "y, because of ConnectionError: refused"


def test_error_is_one_bounded_line_that_ends_with_the_place() -> None:
    error = describe(raised(ValueError("x\ny " * 10_000)))
    assert len(error) == LONGEST_ERROR
    assert "\n" not in error
    assert error.endswith(" in raised)")
    assert failing(raised(ValueError("\ud83d"))).error.startswith("ValueError: \\ud83d (")


def test_retry_and_reject_are_told_in_the_words_of_the_shop() -> None:
    assert failing(raised(Reject("no such SKU"))).error == "no such SKU"
    assert failing(raised(Retry())).error == "Retry"


def test_system_exit_is_told_as_itself() -> None:
    assert failing(raised(SystemExit(3))).error.startswith(f"SystemExit: 3 ({HERE}:")


def test_time_out_tells_where_the_attempt_was() -> None:
    timeout = Failed(FailureReason.TIMEOUT, "no result within 1 s")
    result = timed_out(timeout, raised(asyncio.CancelledError()))
    assert normalised(result.error) == f"no result within # s ({HERE} in raised)"
    assert "in raised" in result.traceback


class Hostile(Exception):
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise SystemExit

    @property
    def __notes__(self) -> Any:  # type: ignore[override]
        raise SystemExit

    def __eq__(self, other: object) -> bool:
        raise SystemExit

    def __hash__(self) -> int:
        raise SystemExit

    def __str__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize("make", [Hostile, lambda: group(Hostile(), Hostile())])
def test_exception_that_raises_when_it_is_looked_at_is_a_failure(
    make: Callable[[], BaseException],
) -> None:
    result = failing(raised(make()))
    assert isinstance(result, Failed)
    assert result.reason is FailureReason.HANDLER


# --- places and tracebacks -------------------------------------------------------------------


SHOP = """
import json
from lib import call

class Book:
    def add(self, text):
        secret = "4111111111111111"
        return call(json.loads, text)

def fulfil(text):
    return Book().add(text)
"""
LIBRARY = "def call(function, *args):\n    return function(*args)\n"
ASK = """
from fulfillment_worker.handlers.result import meaning
from shop.orders import fulfil
try:
    fulfil("{")
except ValueError as error:
    result = meaning(error)
    print(result.error)
    print(result.traceback)
"""


@pytest.mark.parametrize("installed", [False, True])
def test_place_is_the_innermost_frame_of_the_shop(tmp_path: Path, installed: bool) -> None:
    """Also of a shop that is itself installed."""
    library = tmp_path / "lib" / "site-packages"
    shop = (library if installed else tmp_path / "app") / "shop"
    shop.mkdir(parents=True)
    library.mkdir(exist_ok=True, parents=True)
    (shop / "orders.py").write_text(SHOP)
    (library / "lib.py").write_text(LIBRARY)
    ask = f"import sys; sys.path[:0] = [{str(shop.parent)!r}, {str(library)!r}]\n{ASK}"
    if installed:  # called by the handler's own package, not by this script
        (shop / "ask.py").write_text(ASK.replace("\nfrom f", "\ndef run():\n  pass\nfrom f", 1))
        ask = ask.replace(ASK, "import shop.ask")
    said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    error, *lines = said.stdout.splitlines()
    assert error.startswith("JSONDecodeError: Expecting property name")
    assert error.endswith("(shop/orders.py:8 in Book.add)")
    assert lines[0] == "Traceback (most recent call last):"
    assert f'  File "{shop}/orders.py", line 8, in Book.add' in lines
    assert lines[-1].startswith("JSONDecodeError: ")
    assert "4111" not in said.stdout


def test_traceback_has_the_causes_first_and_notes() -> None:
    try:
        try:
            raise KeyError("sku")
        except KeyError as error:
            error.add_note("of the warehouse")
            raise ValueError("no shelf") from error
    except ValueError as error:
        lines = failing(error).traceback.splitlines()
    assert [line for line in lines if not line.startswith(("  File", "Traceback"))] == [
        "KeyError: 'sku'",
        "of the warehouse",
        "which caused:",
        "ValueError: no shelf",
    ]


def test_traceback_of_a_group_shows_each_exception() -> None:
    text = failing(group(raised_value_error(), Retry("later"))).traceback
    assert "| ValueError: oh" in text
    assert "| Retry: later" in text
    assert text.count("Traceback") == 3


def raised_value_error() -> Exception:
    error = raised(ValueError("oh"))
    assert isinstance(error, Exception)
    return error


def test_traceback_is_bounded_and_keeps_its_end() -> None:
    def deeper(left: int) -> None:
        if not left:
            raise ValueError("the end \u2603" + "x" * 5000)
        deeper(left - 1)

    def fail() -> BaseException:
        try:
            deeper(500)
        except ValueError as error:
            return error
        raise AssertionError

    error = fail()
    for _ in range(30):
        outer = raised(RuntimeError("outer " * 100))
        outer.__cause__ = error
        error = outer
    assert len(failing(error).traceback.encode()) <= 2000
    assert failing(error).traceback.splitlines()[-1].startswith("RuntimeError: outer")
    assert "490 more" in failing(fail()).traceback or "489 more" in failing(fail()).traceback


def test_traceback_is_empty_where_no_code_of_the_shop_ran() -> None:
    assert failing(Retry("it answered 503")).traceback == ""
