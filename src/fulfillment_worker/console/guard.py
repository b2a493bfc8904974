"""What stands before every page: whose request it is, and what browsers may do with the answer."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fulfillment_worker.console.access import SESSION_SECONDS, Access, Visitor

COOKIE = "fulfillment_console"
_OPEN = ("/static/", "/sign-in")
_SAFE = ("GET", "HEAD")
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_NOT_OURS = (
    "This console isn't reached by that name. Name it with --server-name, or use the address.\n"
)


class Guard:
    """Wraps the console."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        visitor = self._visitor(headers)
        refusal = self._refusal(scope, headers, visitor)
        scope.setdefault("state", {})["visitor"] = visitor
        app = refusal or self._app

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    answer.setdefault(name, value)
                if visitor and visitor.is_new and not refusal:
                    answer.append("set-cookie", cookie_of(visitor.session))
            await send(message)

        await app(scope, receive, guarded)

    def _visitor(self, headers: Headers) -> Visitor | None:
        kind, _, token = headers.get("authorization", "").partition(" ")
        bearer = token.strip() if kind.lower() == "bearer" else ""
        return self._access.visitor(_cookie_in(headers.get("cookie", "")), bearer)

    def _refusal(self, scope: Scope, headers: Headers, visitor: Visitor | None) -> Response | None:
        host = headers.get("host", "")
        if not self._access.is_ours(host):
            return PlainTextResponse(_NOT_OURS, 421)
        origin = headers.get("origin")
        if scope["method"] not in _SAFE and origin and urlsplit(origin).netloc != host:
            return PlainTextResponse("This comes from another site.\n", 403)
        path = scope["path"]
        if visitor or path.startswith(_OPEN):
            return None
        if path.startswith("/api/"):
            return JSONResponse({"error": "give the token: Authorization: Bearer TOKEN"}, 401)
        return RedirectResponse(f"/sign-in?next={quote(path)}", 303)


def cookie_of(session: str, seconds: int = SESSION_SECONDS) -> str:
    """The header that sets it; 0 seconds removes it."""
    return f"{COOKIE}={session}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict"


def _cookie_in(header: str) -> str:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
