"""Handlers that are HTTP endpoints: the order is posted, and the answer's status decides.

Proxy variables of the environment (HTTP_PROXY and the like) and ~/.netrc are not read: an order
holds personal data, and goes to the host that the setting names and nowhere else. TLS is always
verified, against the system's certificates (or SSL_CERT_FILE, SSL_CERT_DIR) and certifi's.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version
from typing import cast

import certifi
import httpx

from fulfillment_worker.core.attempt import Attempt
from fulfillment_worker.core.order import Order
from fulfillment_worker.core.outcome import (
    SUCCEEDED,
    Deferred,
    Failed,
    FailureReason,
    Rejected,
    Result,
    Unattempted,
)
from fulfillment_worker.core.text import one_line
from fulfillment_worker.handlers.errors import HandlerError
from fulfillment_worker.handlers.http_shortage import lacks
from fulfillment_worker.handlers.note import answered
from fulfillment_worker.handlers.result import result_of
from fulfillment_worker.handlers.retry_after import retry_after

_ACCEPTED = 202
_ALREADY_DONE = 409
# Often said by a gateway, of the address and not of the order.
_OF_THE_ADDRESS = {301, 302, 303, 307, 308, 401, 403, 404, 405, 407}
_PUT_BACK = "if the address was at fault, put them back with: fulfillment-worker dead retry GROUP"
_TRY_AGAIN = {408, 425, 429}
_BODY_BYTES = 64 * 1024
_BODY_SECONDS = 5.0
_EXCERPT_CHARACTERS = 200
_CONNECT_SECONDS = 10.0
# Below the 5 s after which many servers hang up, so that an order rarely meets a dead connection.
_KEEPALIVE_SECONDS = 4.0


class Endpoint:
    """Posts orders to one URL.

    name: its scheme, host and port. secrets: what must not be quoted from an answer.
    """

    blocking = False

    def __init__(
        self, client: httpx.AsyncClient, url: httpx.URL, secrets: list[str], order_timeout: float
    ) -> None:
        self._client = client
        self._url = url
        self._secrets = secrets
        # Of its time, an attempt must have some left to end by what the status says.
        self._body_by = order_timeout - min(1.0, order_timeout / 10)
        self.name = f"{url.scheme}://{url.netloc.decode('ascii')}"

    async def __call__(self, order: Order, attempt: Attempt) -> Result:
        """Post `order`. No text of the result holds credentials."""
        try:
            return await self._post(order)
        except BaseException as error:  # noqa: BLE001 - a cancellation, or a fault of the client
            return result_of(error, attempt)

    async def open(self) -> None:
        """Nothing is needed: connections are made as orders come."""

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _post(self, order: Order) -> Result:
        body_by = asyncio.get_running_loop().time() + self._body_by
        try:
            async with self._client.stream(
                "POST", self._url, content=order.raw, headers=_headers(order)
            ) as response:
                return self._judge(response, await _body(response, body_by))
        except (httpx.HTTPError, RuntimeError) as error:
            if shortage := lacks(error):
                return Unattempted(f"{self.name}: {shortage}")
            if not isinstance(error, httpx.HTTPError):
                raise
            return Failed(FailureReason.DEPENDENCY, f"{self.name}: {_said(error)}")

    def _judge(self, response: httpx.Response, body: bytes) -> Result:
        status = response.status_code
        after = retry_after(response.headers)
        if status == _ACCEPTED and after is not None:
            return Deferred(self._answer(response, body), after)
        if status == _ALREADY_DONE:
            return SUCCEEDED
        if response.is_success:
            return answered(body, self._secrets) if _is_plain(response) else SUCCEEDED
        answer = self._answer(response, body)
        if response.is_server_error or status in _TRY_AGAIN:
            return Failed(FailureReason.DEPENDENCY, answer, after)
        return Rejected(f"{answer} ({_PUT_BACK})" if status in _OF_THE_ADDRESS else answer)

    def _answer(self, response: httpx.Response, body: bytes) -> str:
        status = response.status_code
        answer = f"{self.name} answered {status} {httpx.codes.get_reason_phrase(status)}".rstrip()
        if response.is_redirect:
            answer += ", and redirects are not followed"
        excerpt = self._excerpt(response, body)
        return f"{answer}: {excerpt}" if excerpt else answer

    def _excerpt(self, response: httpx.Response, body: bytes) -> str:
        if not _is_plain(response):
            return ""
        text = body.decode("utf-8", "replace")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return one_line(text, _EXCERPT_CHARACTERS)


def endpoint(url: str, *, order_timeout: float, concurrency: int | None) -> Endpoint:
    """The endpoint at `url`. See `load` for the arguments. Raises HandlerError."""
    target = _parse(url)
    # It logs each request's whole URL, with secrets that its query may hold.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    auth = httpx.BasicAuth(target.username, target.password) if target.userinfo else None
    client = httpx.AsyncClient(
        auth=auth,
        verify=_trust(target.scheme),
        trust_env=False,
        timeout=httpx.Timeout(order_timeout, connect=min(_CONNECT_SECONDS, order_timeout)),
        limits=httpx.Limits(
            max_connections=concurrency,
            max_keepalive_connections=concurrency,
            keepalive_expiry=_KEEPALIVE_SECONDS,
        ),
        # No order may learn from another's cookies, nor a server fill the memory with them.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"User-Agent": f"fulfillment-worker/{version('fulfillment-worker')}"},
    )
    bare = target.copy_with(userinfo=b"")
    return Endpoint(client, bare, _secrets(target, auth), order_timeout)


def _parse(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        # Its message may quote a password that wasn't escaped, and so may the chained traceback.
        raise HandlerError(
            "the URL is malformed; special characters in a user or password are written %XX"
        ) from None
    if parsed.scheme not in {"http", "https"}:
        raise HandlerError("the URL must begin with http:// or https://")
    if not parsed.host:
        raise HandlerError("the URL names no host")
    if parsed.fragment:
        raise HandlerError("the URL has a # in it, which can't be sent; it is written %23")
    return parsed


def _secrets(target: httpx.URL, auth: httpx.BasicAuth | None) -> list[str]:
    secrets = [target.password, target.userinfo.decode(), target.query.decode()]
    if auth is not None:
        request = next(auth.auth_flow(httpx.Request("POST", target)))
        secrets.append(request.headers["Authorization"].removeprefix("Basic "))
    # The longest first, since one may contain another.
    return sorted(filter(None, secrets), key=len, reverse=True)


def _trust(scheme: str) -> ssl.SSLContext:
    if scheme == "http":
        # Never used, and trusts nobody: reading the certificates takes longer than all the rest.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The system's for a shop's own authority; certifi's as well, as slim images have no others.
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _headers(order: Order) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        # Spares us from unpacking what may be a bomb.
        "Accept-Encoding": "identity",
        "Idempotency-Key": order.idempotency_key,
        "X-Order-Attempt": str(order.attempt),
    }
    if order.traceparent:
        headers["traceparent"] = order.traceparent
        # Outer spaces are no part of a header, and would make the request an illegal one.
        if order.tracestate and (tracestate := order.tracestate.strip()):
            headers["tracestate"] = tracestate
    return headers


async def _body(response: httpx.Response, by: float) -> bytes:
    """The answer's body, as far as it comes in time and is not too long. by: time of the loop.

    Read to its end, the connection can serve the next order. Whatever goes wrong here changes
    nothing: the status has decided already.
    """
    body = bytearray()
    until = min(by, asyncio.get_running_loop().time() + _BODY_SECONDS)
    try:
        chunks = cast("AsyncGenerator[bytes]", response.aiter_raw())
        async with asyncio.timeout_at(until), aclosing(chunks):
            async for chunk in chunks:
                body += chunk
                if len(body) > _BODY_BYTES:
                    break
    except (httpx.HTTPError, TimeoutError):
        pass
    return bytes(body[:_BODY_BYTES])


def _is_plain(response: httpx.Response) -> bool:
    """Else it was packed, which was not asked for, and isn't worth the risk of unpacking."""
    return bool(response.headers.get("content-encoding", "identity") == "identity")


def _said(error: httpx.HTTPError) -> str:
    said = one_line(str(error), _EXCERPT_CHARACTERS)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
