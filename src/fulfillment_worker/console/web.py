"""The console as an ASGI application: routes, pages, acts, and what is said where these fail."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from fulfillment_worker.console.access import LONGEST_NAME, RIGHT_OF, Access, Visitor
from fulfillment_worker.console.acts import Plan, Refused, plan, reason_of
from fulfillment_worker.console.guard import Guard, cookie_of
from fulfillment_worker.console.openapi import document
from fulfillment_worker.console.pages import PAGES, Page, Pages
from fulfillment_worker.console.render import Renderer
from fulfillment_worker.core.exchange import QueueUnavailable

_LARGEST_FORM = 64 * 1024
_STATIC = Path(__file__).parent / "static"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
Endpoint = Callable[[Request], Awaitable[Response]]


class Web:
    """Answers requests."""

    def __init__(self, pages: Pages, access: Access, version: str) -> None:
        self._pages = pages
        self._access = access
        self._static = {each.name: each.read_bytes() for each in _STATIC.iterdir()}
        digest = hashlib.sha256(b"".join(self._static.values())).hexdigest()[:12]
        self._renderer = Renderer(access.options, version, digest)
        self._openapi = msgspec.json.encode(document(version))

    def app(self) -> ASGIApp:
        """The application. It raises nothing: what fails is a page that says so."""
        routes = [
            Route("/static/{name}", self._asset),
            Route("/orders", self._search),
            Route("/sign-in", self._ask_to_sign_in),
            Route("/sign-in", self._sign_in, methods=["POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            Route("/acts/{act}", self._ask),
            Route("/acts/{act}", self._act, methods=["POST"]),
            Route("/api/acts/{act}", self._ask_json),
            Route("/api/acts/{act}", self._act_json, methods=["POST"]),
            Route("/api/openapi.json", self._describe),
        ]
        for page in PAGES:
            routes += [
                Route(page.path, self._page(page)),
                Route(page.api_path, self._json(page)),
            ]
        faults: Mapping[Any, Any] = {
            Refused: self._refused,
            QueueUnavailable: self._unavailable,
            HTTPException: self._refused,
            Exception: self._failed,
        }
        return Guard(Starlette(routes=routes, exception_handlers=faults), self._access)

    # --- looking ----------------------------------------------------------------------------------

    def _page(self, page: Page) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            context = await page.read(self._pages, request)
            status = _status(context)
            return self._render(request, page.template, context, status, live=page.live)

        return endpoint

    def _json(self, page: Page) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            context = await page.read(self._pages, request)
            return _as_json(context, _status(context))

        return endpoint

    async def _search(self, request: Request) -> Response:
        order_id = request.query_params.get("id", "").strip()
        where = f"/orders/{quote(order_id, safe='')}" if order_id else "/"
        return RedirectResponse(where, 303)

    async def _describe(self, _: Request) -> Response:
        return Response(self._openapi, media_type="application/json")

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._static:
            raise HTTPException(404)
        kind = _KINDS[Path(name).suffix]
        # Its address changes with its content.
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(self._static[name], media_type=kind, headers=headers)

    # --- acting -----------------------------------------------------------------------------------

    async def _ask(self, request: Request) -> Response:
        planned = await self._plan(request, dict(request.query_params))
        return self._render(request, "confirm.html", {"plan": planned, "fault": ""})

    async def _ask_json(self, request: Request) -> Response:
        planned = await self._plan(request, dict(request.query_params))
        return _as_json(_plan_fields(planned))

    async def _act(self, request: Request) -> Response:
        said = await _form(request)
        self._check_form(request, said)
        planned = await self._plan(request, said)
        try:
            why = reason_of(said, planned.act)
        except Refused as fault:
            context = {"plan": planned, "fault": str(fault)}
            return self._render(request, "confirm.html", context, fault.status)
        done = await planned.carry_out(_visitor(request).name, why)
        context = {"plan": planned, "done": done}
        return self._render(request, "done.html", context, 200 if done.ok else 409)

    async def _act_json(self, request: Request) -> Response:
        said = await _json_object(request)
        self._check_form(request, said)
        planned = await self._plan(request, said)
        visitor = _visitor(request)
        by = _name(said.get("by", visitor.name)) if visitor.is_program else visitor.name
        done = await planned.carry_out(by, reason_of(said, planned.act))
        told = {"ok": done.ok, "told": done.told, "count": done.count}
        return _as_json(told, 200 if done.ok else 409)

    async def _plan(self, request: Request, said: Mapping[str, str]) -> Plan:
        act = request.path_params["act"]
        if act not in RIGHT_OF:
            raise Refused(404, "There is no such act.")
        if not self._access.may(act):
            right = RIGHT_OF[act]
            raise Refused(
                403, f"This console may not do that: start it with --allow {right} for it."
            )
        return await plan(self._pages.queues, act, said)

    def _check_form(self, request: Request, said: Mapping[str, str]) -> None:
        visitor = _visitor(request)
        if not visitor.is_program and not self._access.is_form_of(visitor, said.get("csrf", "")):
            raise Refused(403, "This form is of another session: go back, reload, and try again.")

    # --- sessions ---------------------------------------------------------------------------------

    async def _ask_to_sign_in(self, request: Request) -> Response:
        where = _local(request.query_params.get("next", ""))
        if _maybe_visitor(request):
            return RedirectResponse(where, 303)
        return self._render(request, "sign_in.html", {"next": where, "name": "", "fault": ""})

    async def _sign_in(self, request: Request) -> Response:
        said = await _form(request)
        where, name = _local(said.get("next", "")), " ".join(said.get("name", "").split())
        fault = ""
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            fault = f"Give your name, in 1 to {LONGEST_NAME} characters: the audit shows it."
        elif not self._access.is_token(said.get("token", "")):
            fault = "This is not the token."
        if fault:
            context = {"next": where, "name": name, "fault": fault}
            return self._render(request, "sign_in.html", context, 403)
        session = self._access.sign_in(name).session
        return RedirectResponse(where, 303, headers={"set-cookie": cookie_of(session)})

    async def _sign_out(self, request: Request) -> Response:
        self._check_form(request, await _form(request))
        return RedirectResponse("/sign-in", 303, headers={"set-cookie": cookie_of("", 0)})

    # --- failing ----------------------------------------------------------------------------------

    async def _refused(self, request: Request, error: Any) -> Response:
        status = error.status if isinstance(error, Refused) else error.status_code
        says = {404: "There is no such page.", 405: "That can't be done here."}
        told = str(error) if isinstance(error, Refused) else says.get(status, error.detail)
        headers = None if isinstance(error, Refused) else error.headers
        return self._fault(request, status, told, headers)

    async def _unavailable(self, request: Request, error: Any) -> Response:
        return self._fault(request, 503, f"Redis can't be asked now. {error}")

    async def _failed(self, request: Request, _: Any) -> Response:
        return self._fault(request, 500, "This is a fault of the console; its output says more.")

    def _fault(
        self, request: Request, status: int, told: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        if request.url.path.startswith("/api/"):
            answer = _as_json({"error": told}, status)
        else:
            live = 5 if status == 503 and request.method == "GET" else 0
            context = {"status": status, "told": told}
            answer = self._render(request, "fault.html", context, status, live=live)
        answer.headers.update(headers or {})
        return answer

    def _render(
        self,
        request: Request,
        template: str,
        context: Mapping[str, Any],
        status: int = 200,
        live: float = 0,
    ) -> Response:
        page = self._renderer.page(
            template,
            context,
            visitor=_maybe_visitor(request),
            path=request.url.path,
            live=live,
            may=self._access.may,
            now=round(time.time() * 1000),
        )
        return Response(page, status, media_type="text/html")


def _status(context: Mapping[str, Any]) -> int:
    """503 where nothing of it was ever read, 404 for an order that isn't there."""
    stale = context.get("stale", {})
    if stale.get("fault") and not stale["at"]:
        return 503
    return 404 if context.get("found") is False else 200


def _as_json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _plan_fields(planned: Plan) -> dict[str, Any]:
    return {
        "act": planned.act,
        "what": planned.what,
        "means": planned.means,
        "count": planned.count,
        "needs_reason": planned.needs_reason,
        "post": planned.fields,
    }


def _maybe_visitor(request: Request) -> Visitor | None:
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    return visitor


def _visitor(request: Request) -> Visitor:
    visitor = _maybe_visitor(request)
    if visitor is None:  # The guard lets nobody else through.
        raise HTTPException(403)
    return visitor


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_FORM:
            raise Refused(413, "This is too large.")
    return body


async def _form(request: Request) -> dict[str, str]:
    try:
        text = (await _body(request)).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=50))
    except ValueError:
        raise Refused(400, "This is no form of this console.") from None


async def _json_object(request: Request) -> dict[str, str]:
    try:
        said = msgspec.json.decode(await _body(request), type=dict[str, str | int])
    except (msgspec.MsgspecError, ValueError):
        raise Refused(400, "give a JSON object of texts") from None
    return {name: str(value) for name, value in said.items()}


def _name(text: str) -> str:
    if not 1 <= len(text) <= LONGEST_NAME or not text.isprintable():
        raise Refused(400, f"give `by` 1 to {LONGEST_NAME} characters")
    return text


def _local(path: str) -> str:
    """A path of our own, and no other site's."""
    is_ours = path.startswith("/") and not path.startswith("//") and path.isprintable()
    return path if is_ours and "\\" not in path else "/"
