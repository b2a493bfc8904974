"""`extra=` of the shop's log records: all of it is shown, none of it can do harm."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from fulfillment_worker.observability.logs import configure

pytestmark = pytest.mark.usefixtures("logging_as_before")


def _logged(extra: dict[str, Any], **added: object) -> dict[str, Any]:
    stream = io.StringIO()
    handler = configure("info", "json", stream)
    handler.add_fields(lambda: added)
    logging.getLogger("shop").info("packed", extra=extra)
    handler.close()
    line: dict[str, Any] = json.loads(stream.getvalue())
    return line


def _shown(extra: dict[str, Any]) -> str:
    stream = io.StringIO()
    handler = configure("info", "console", stream)
    logging.getLogger("shop").info("packed", extra=extra)
    handler.close()
    return stream.getvalue()


def test_extra_fields_are_shown() -> None:
    line = _logged({"parcel": "P-1", "weight": 1.5, "fragile": True, "left": None})
    assert (line["parcel"], line["weight"], line["fragile"]) == ("P-1", 1.5, True)
    assert "left" not in line
    assert _shown({"parcel": "P-1", "weight": 1.5}).endswith("packed parcel=P-1 weight=1.5\n")


@pytest.mark.parametrize("fields", [["a"], {"a": 1}, "a", 1, None, object()])
def test_an_extra_field_may_have_any_name_of_ours(fields: object) -> None:
    names = ["fields", "is_the_workers", "_fields", "handler", "line", "added", "exc", "queue"]
    line = _logged(dict.fromkeys(names, fields), process="2")
    assert (line["event"], line["process"]) == ("packed", "2")


@pytest.mark.parametrize("name", ["timestamp", "level", "event", "logger"])
def test_an_extra_field_with_a_name_that_every_line_has_is_put_beside_it(name: str) -> None:
    line = _logged({name: "mine"})
    assert (line["event"], line["logger"], line["level"]) == ("packed", "shop", "info")
    assert line[f"extra_{name}"] == "mine"


def test_an_extra_field_wins_over_one_that_is_added_to_every_line() -> None:
    assert _logged({"trace_id": "mine"}, trace_id="ours")["trace_id"] == "mine"


def test_extra_fields_are_nested_as_they_were() -> None:
    extra = {"parcel": {"id": "P-1", "items": [1, (2, "x")], 3: {"y"}}}
    assert _logged(extra)["parcel"] == {"id": "P-1", "items": [1, [2, "x"]], "3": ["y"]}


@pytest.mark.parametrize(
    "extra",
    [
        {"password": "hunter2"},
        {"api_key": 12345, "who": "hunter"},
        {"url": "redis://user:hunter2@host/0"},
        {"headers": {"Authorization": "hunter2"}},
        {"deep": [{"auth": {"db_password": b"hunter2"}}]},
        {"text": "x" * 1990 + " password=hunter2"},
    ],
)
def test_secrets_in_extra_fields_are_blotted_out(extra: dict[str, Any]) -> None:
    for text in (json.dumps(_logged(extra)), _shown(extra)):
        assert "hunter2" not in text
        assert "12345" not in text


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("no class")


@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: [it], lambda it: {"a": it}])
def test_extra_fields_that_cannot_be_read_cost_no_line(wrap: Callable[[object], object]) -> None:
    assert "could not be read" in json.dumps(_logged({"parcel": wrap(Hostile())}))
    assert "could not be read" in _shown({"parcel": wrap(Hostile())})


def test_huge_extra_fields_are_cut() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    extra: dict[str, Any] = {
        "items": list(range(10**6)),
        "table": {number: "x" * 10**4 for number in range(1000)},
        "number": 10**5000,
        "blob": b"x" * 10**7,
        "cycle": cycle,
    }
    line = _logged(extra | {f"more{number}": 1 for number in range(1000)})
    assert len(json.dumps(line)) < 200_000
    assert line["items"][-1] == "… 999950 more"
    assert line["number"] == "an integer of 16610 bits"


def test_a_message_that_cannot_be_read_costs_no_line() -> None:
    stream = io.StringIO()
    logging.getLogger().handlers.clear()  # pytest's own raise what a record makes them raise
    handler = configure("info", "json", stream)
    logging.getLogger("shop").info(Hostile())
    handler.close()
    assert "could not be read" in json.loads(stream.getvalue())["event"]
