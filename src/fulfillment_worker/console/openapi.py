"""What programs may ask, as OpenAPI describes it; derived from the pages and the records."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from fulfillment_worker.admin.inspector import Overview
from fulfillment_worker.admin.operator import Act
from fulfillment_worker.admin.rules.causes import DeadLetter, Group
from fulfillment_worker.admin.running import RunningOrder
from fulfillment_worker.admin.whereabouts import OrderLocation
from fulfillment_worker.console.access import RIGHT_OF
from fulfillment_worker.console.pages import PAGES, Page

_RECORDS = (Overview, OrderLocation, DeadLetter, Group, RunningOrder, Act)
_REF = "#/components/schemas/{name}"
_STALE = {
    "type": "object",
    "description": "Why this is not new, and when it was read (Unix ms); `fault` is empty if it is",
    "properties": {"fault": {"type": "string"}, "at": {"type": "integer"}},
}
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}}
_TARGETS = ("order_id", "queue", "group", "number", "until")


def document(version: str) -> dict[str, Any]:
    """The whole description."""
    _, schemas = msgspec.json.schema_components(_RECORDS, ref_template=_REF)
    paths = {_path(page): {"get": _read(page)} for page in PAGES}
    paths["/api/acts/{act}"] = {"get": _plan(), "post": _act()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "fulfillment-worker console", "version": version},
        "paths": paths,
        "security": [{"token": []}, {}],
        "components": {
            "schemas": {**schemas, "Stale": _STALE, "Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _path(page: Page) -> str:
    return re.sub(r"{(\w+):\w+}", r"{\1}", page.api_path)


_SHOWS: dict[str, dict[str, Any]] = {
    "/": {"queues": {"type": "array", "items": {"type": "object"}}, "dead": {"type": "object"}},
    "/dead": {"groups": {"type": "array", "items": {"$ref": _REF.format(name="Group")}}},
    "/dead/{queue}/{group}": {
        "group": {"$ref": _REF.format(name="Group")},
        "letters": {"type": "array", "items": {"$ref": _REF.format(name="DeadLetter")}},
    },
    "/letters/{queue}/{number:int}": {
        "body": {"type": "string", "description": "the order, with personal fields blotted out"},
        "traceback": {"type": "string"},
        "history": {"type": "array", "items": {"$ref": _REF.format(name="Failure")}},
    },
    "/workers": {"queues": {"type": "array", "items": {"type": "object"}}},
    "/audit": {"acts": {"type": "array", "items": {"$ref": _REF.format(name="Act")}}},
    "/orders/{order_id:path}": {
        "status": {"type": "string"},
        "sentence": {"type": "string", "description": "where it is, and why"},
        "order": {"oneOf": [{"$ref": _REF.format(name="OrderLocation")}, {"type": "null"}]},
        "offers": {"type": "array", "items": {"type": "string"}},
    },
}
"""What the answers hold, beside `stale`."""


def _read(page: Page) -> dict[str, Any]:
    shown = {"type": "object", "properties": {"stale": {"$ref": _REF.format(name="Stale")}}}
    shown["properties"] |= _SHOWS[page.path]  # type: ignore[operator]
    return {
        "summary": page.says,
        "parameters": [
            _parameter(name, "path", kind == "int")
            for name, kind in re.findall(r"{(\w+):?(\w*)}", page.path)
        ],
        "responses": {"200": _answer("it is told", shown), **_faults("401", "404", "503")},
    }


def _parameter(name: str, where: str, whole: bool = False) -> dict[str, Any]:
    kind = "integer" if whole else "string"
    return {"name": name, "in": where, "required": where == "path", "schema": {"type": kind}}


def _plan() -> dict[str, Any]:
    return {
        "summary": "What an act would do, and to how many; nothing is changed.",
        "parameters": [_which(), *(_parameter(name, "query") for name in _TARGETS)],
        "responses": {
            "200": _answer("what would happen", {"type": "object"}),
            **_faults("400", "401", "403", "404", "503"),
        },
    }


def _act() -> dict[str, Any]:
    texts = {name: {"type": "string"} for name in (*_TARGETS, "why", "by")}
    done = {
        "type": "object",
        "properties": {
            "ok": {"type": "boolean"},
            "told": {"type": "string"},
            "count": {"type": "integer"},
        },
    }
    return {
        "summary": "Do it, if the console may (--allow). `drop` and `cancel` need `why`.",
        "parameters": [_which()],
        "requestBody": {
            "content": {"application/json": {"schema": {"type": "object", "properties": texts}}}
        },
        "responses": {
            "200": _answer("it is done", done),
            "409": _answer("it was too late, or is gone", done),
            **_faults("400", "401", "403", "404", "503"),
        },
    }


def _which() -> dict[str, Any]:
    acts = {"type": "string", "enum": sorted(RIGHT_OF)}
    return {"name": "act", "in": "path", "required": True, "schema": acts}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _faults(*codes: str) -> dict[str, Any]:
    says = {
        "400": "what was given can't be used",
        "401": "the token is missing",
        "403": "this console may not do that",
        "404": "it isn't there",
        "503": "Redis can't be asked",
    }
    error = {"$ref": _REF.format(name="Error")}
    return {code: _answer(says[code], error) for code in codes}
