"""What a handler returns, and what of it is the order's note."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fulfillment_worker import Order
from fulfillment_worker.core.outcome import SUCCEEDED, Succeeded
from fulfillment_worker.handlers import LoadedHandler, note
from fulfillment_worker.handlers.function import AsyncFunction, PlainFunction
from tests.support.attempt import OneAttempt


class Rude(dict[str, Any]):
    def items(self) -> Any:
        raise SystemExit("no items")

    def __len__(self) -> int:
        raise KeyboardInterrupt


@pytest.mark.parametrize("returned", [None, "DHL", 7, True, ["DHL"], {}, object()])
def test_note_is_a_dictionary_and_nothing_else(returned: object) -> None:
    assert note.success(returned) is SUCCEEDED


@pytest.mark.parametrize(
    "returned", [{"tracking": "0034"}, {"at": datetime(2026, 1, 2, tzinfo=UTC)}, {"ä": [1, {}]}]
)
def test_note_is_the_dictionary_as_json(returned: dict[str, Any]) -> None:
    noted = note.success(returned)
    assert noted.fault == ""
    assert json.loads(noted.note).keys() == returned.keys()


def test_note_has_1024_bytes_at_most() -> None:
    fits = note.success({"a": "x" * (1024 - 8)})
    assert (len(fits.note), fits.fault) == (1024, "")
    large = note.success({"a": "ä" * 512})
    assert large.note == ""
    assert "has 1032 bytes as JSON, and a note has 1024 at most" in large.fault


@pytest.mark.parametrize("returned", [{"a": object()}, {"a": "\ud83d"}, {object(): 1}, Rude(a=1)])
def test_note_that_is_no_json_is_a_fault_and_a_success(returned: Any) -> None:
    noted = note.success(returned)
    assert noted.note == ""
    assert noted.fault.startswith("the handler returned a dictionary that is no JSON: ")
    assert "\n" not in noted.fault


def test_note_that_contains_itself_is_a_fault() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    assert note.success(endless).fault


@pytest.mark.parametrize("kind", ["async", "plain", "returns a coroutine"])
async def test_note_comes_from_functions_of_each_kind(order: Order, kind: str) -> None:
    async def asynchronous(order: Order) -> dict[str, str]:
        return {"id": order.id}

    def plain(order: Order) -> dict[str, str]:
        return {"id": order.id}

    handlers: dict[str, LoadedHandler] = {
        "async": AsyncFunction(asynchronous, "shop:fulfil"),
        "plain": PlainFunction(plain, "shop:fulfil"),
        "returns a coroutine": PlainFunction(asynchronous, "shop:fulfil"),
    }
    handler = handlers[kind]
    result = await handler(order, OneAttempt())
    await handler.close()
    assert result == Succeeded(json.dumps({"id": order.id}, separators=(",", ":")))


@pytest.mark.parametrize(
    "body",
    [b"", b"ok", b"[]", b'"x"', b"{}", b"{]}", b"{not json}", b'{"a": "\xff"}', b'{"a":"\\ud83d"}'],
)
def test_answer_that_is_no_json_object_is_no_note(body: bytes) -> None:
    assert note.answered(body, []) is SUCCEEDED


def test_answer_that_is_a_small_json_object_is_the_note() -> None:
    assert note.answered(b' { "a" : 1.50 }\n', ["hunter2"]) == Succeeded('{"a":1.5}')


def test_answer_that_is_too_large_for_a_note_is_told() -> None:
    body = json.dumps({"a": "x" * 1024}).encode()
    assert "has 1033 bytes as JSON" in note.answered(body, []).fault


@pytest.mark.parametrize("secret", ["hunter2", 'qu"ote'])
def test_answer_with_a_secret_is_no_note(secret: str) -> None:
    told = note.answered(json.dumps({"a": f"key={secret}"}).encode(), [secret])
    assert (told.note, "secret" in told.fault, secret in told.fault) == ("", True, False)
