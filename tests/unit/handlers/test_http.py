"""URL handlers, against a real server: what is sent, what each answer means, what is never told."""

from __future__ import annotations

import asyncio
import base64
import logging
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fulfillment_worker import Order
from fulfillment_worker.core.outcome import (
    INTERRUPTED,
    SUCCEEDED,
    Failed,
    FailureReason,
    Rejected,
    Result,
    Unattempted,
)
from fulfillment_worker.handlers import LoadedHandler, http, load
from tests.support.attempt import OneAttempt
from tests.unit.handlers.scripted_server import Script, ScriptedServer, answer
from tests.unit.handlers.waiting import DEADLINE

SECRET = "hunter2"
MakeOrder = Callable[..., Order]


@asynccontextmanager
async def endpoint(url: str, order_timeout: float = DEADLINE) -> AsyncIterator[LoadedHandler]:
    handler = load(url, order_timeout=order_timeout, concurrency=4)
    yield handler
    await handler.close()


async def post(handler: LoadedHandler, order: Order) -> Result:
    return await handler(order, OneAttempt())


async def failure(url: str, order: Order, order_timeout: float = DEADLINE) -> Failed | Rejected:
    """How posting `order` ends. A failure has no code of the shop's to show."""
    async with endpoint(url, order_timeout) as handler:
        result = await post(handler, order)
    assert isinstance(result, Failed | Rejected)
    assert result.traceback == ""
    assert isinstance(result, Rejected) or result.reason is FailureReason.DEPENDENCY
    return result


async def test_posts_the_exact_bytes_with_what_the_server_needs(make_order: MakeOrder) -> None:
    raw = b'{"order_id":"A-1" ,  "price":1.10}\n'
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    order = make_order(raw=raw, attempt=3, traceparent=parent, tracestate=" vendor=1 ")
    async with ScriptedServer(answer(204)) as server, endpoint(server.url) as handler:
        assert await post(handler, order) is SUCCEEDED
    (posted,) = server.posted
    assert posted.line == "POST /orders HTTP/1.1"
    assert posted.body == raw
    expected = {
        "content-type": "application/json",
        "content-length": str(len(raw)),
        "idempotency-key": "orders:A-1",
        "x-order-attempt": "3",
        "traceparent": parent,
        "tracestate": "vendor=1",
    }
    assert expected.items() <= posted.headers.items()
    assert posted.headers["user-agent"].startswith("fulfillment-worker/")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tracestate": "vendor=1"},
        {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "tracestate": "  "},
    ],
)
async def test_any_valid_order_makes_a_valid_request(
    make_order: MakeOrder, fields: dict[str, str]
) -> None:
    order = make_order(id="ä\u2028😀" * 40, **fields)
    async with ScriptedServer(answer(204)) as server, endpoint(server.url) as handler:
        assert await post(handler, order) is SUCCEEDED
    headers = server.posted[0].headers
    assert headers["idempotency-key"].isascii()
    assert headers.get("traceparent") == fields.get("traceparent")
    assert "tracestate" not in headers


async def test_what_it_is(order: Order) -> None:
    async with endpoint("https://user:hunter2@shop.example:8443/orders?key=1") as handler:
        assert (handler.name, handler.blocking) == ("https://shop.example:8443", False)
        await handler.close()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299, 409])
async def test_fulfilled(order: Order, status: int) -> None:
    async with ScriptedServer(answer(status)) as server, endpoint(server.url) as handler:
        assert await post(handler, order) is SUCCEEDED


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_to_be_retried(order: Order, status: int) -> None:
    async with ScriptedServer(answer(status)) as server:
        error = await failure(server.url, order)
    assert isinstance(error, Failed)
    assert error.after is None
    assert f"answered {status}" in error.error


@pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 410, 418, 422, 600])
async def test_rejected(order: Order, status: int) -> None:
    async with ScriptedServer(answer(status)) as server:
        error = await failure(server.url, order)
    assert isinstance(error, Rejected)
    assert f"answered {status}" in error.error


@pytest.mark.parametrize(
    ("value", "after"),
    [("17", 17.0), ("-1", None), ("rubbish", None), ("999999999", 86400.0)],
)
async def test_retry_after(order: Order, value: str, after: float | None) -> None:
    async with ScriptedServer(answer(503, Retry_After=value)) as server:
        error = await failure(server.url, order)
    assert isinstance(error, Failed)
    assert error.after == after


async def test_says_what_the_server_said_on_one_line(order: Order) -> None:
    body = b"no such\r\n\x1b[31m SKU\x00 \xff " + b"x" * 1000
    async with ScriptedServer(answer(422, body)) as server:
        error = await failure(server.url, order)
    head, _, excerpt = error.error.partition(" Unprocessable Entity: ")
    assert head == f"http://127.0.0.1:{server.port} answered 422"
    assert excerpt.startswith(r"no such \x1b[31m SKU\x00 " + "\ufffd xxx")
    assert excerpt.endswith("x…")
    assert len(excerpt) == 200


async def test_packed_answers_are_not_unpacked(order: Order) -> None:
    async with ScriptedServer(answer(422, b"\x1f\x8b", Content_Encoding="gzip")) as server:
        error = await failure(server.url, order)
    assert error.error.endswith("422 Unprocessable Entity")


async def test_redirects_are_not_followed(order: Order) -> None:
    async with ScriptedServer(answer(204)) as elsewhere, ScriptedServer(b"") as server:
        server.reply = answer(307, Location=elsewhere.url)
        error = await failure(server.url, order)
    assert isinstance(error, Rejected)
    assert "answered 307 Temporary Redirect, and redirects are not followed" in error.error
    assert elsewhere.posted == []


async def test_one_connection_serves_many_orders(order: Order) -> None:
    async with ScriptedServer(answer(200, b"thanks")) as server, endpoint(server.url) as handler:
        for _ in range(3):
            assert await post(handler, order) is SUCCEEDED
        server.reply = answer(500, b"sorry")
        for _ in range(3):
            sorry = await post(handler, order)
            assert isinstance(sorry, Failed)
            assert sorry.error.endswith("sorry")
        assert (len(server.posted), server.connections) == (6, 1)


async def test_opens_no_more_connections_than_there_are_slots(order: Order) -> None:
    async with ScriptedServer(answer(204)) as server, endpoint(server.url) as handler:
        await asyncio.gather(*(post(handler, order) for _ in range(40)))
        assert len(server.posted) == 40
        assert server.connections <= 4


@pytest.mark.parametrize("status", [200, 422])
async def test_an_endless_answer_is_cut(order: Order, status: int) -> None:
    async def gush(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d Whatever\r\n\r\n" % status)
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            await writer.drain()

    async with ScriptedServer(gush) as server, endpoint(server.url) as handler:
        if status == 200:
            assert await post(handler, order) is SUCCEEDED
        else:
            rejected = await post(handler, order)
            assert isinstance(rejected, Rejected)
            assert rejected.error.endswith(199 * "x" + "…")
        await asyncio.wait_for(server.hung_up.wait(), DEADLINE)


async def never_ending(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
    await writer.drain()
    await asyncio.Event().wait()


async def cut_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
    writer.close()


@pytest.mark.parametrize("script", [never_ending, cut_off])
async def test_the_status_decides_whatever_becomes_of_the_body(
    order: Order, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_BODY_SECONDS", 0.05)
    async with ScriptedServer(script) as server, endpoint(server.url) as handler:
        assert await post(handler, order) is SUCCEEDED
        server.reply = answer(204)
        assert await post(handler, order) is SUCCEEDED
        assert server.connections == 2


async def test_the_status_decides_before_the_time_is_up(order: Order) -> None:
    """Done is done: were the attempt to run out of its time, the order would be posted again."""
    async with ScriptedServer(never_ending) as server, endpoint(server.url, 0.5) as handler:
        async with asyncio.timeout(0.5):
            assert await post(handler, order) is SUCCEEDED


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def nonsense(writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (silence, "ReadTimeout"),
        (hang_up, "RemoteProtocolError: Server disconnected"),
        (nonsense, "RemoteProtocolError"),
    ],
)
async def test_no_answer_is_retried(order: Order, script: Script, expected: str) -> None:
    async with ScriptedServer(script) as server:
        patience = 0.2 if script is silence else DEADLINE
        error = await failure(server.url, order, order_timeout=patience)
    assert isinstance(error, Failed)
    assert error.error.startswith(f"http://127.0.0.1:{server.port}: {expected}")


async def test_no_server_is_retried(order: Order) -> None:
    async with ScriptedServer(answer(204)) as server:
        pass
    error = await failure(server.url, order)
    assert isinstance(error, Failed)
    assert "ConnectError" in error.error


async def test_shortage_is_no_attempt(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "lacks", lambda error: "no descriptor is left")
    async with endpoint("http://127.0.0.1:1/") as handler:
        assert await post(handler, order) == Unattempted(
            "http://127.0.0.1:1: no descriptor is left"
        )


async def test_fault_of_the_client_is_a_failure(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(order: Order) -> dict[str, str]:
        raise RuntimeError("out of order")

    monkeypatch.setattr(http, "_headers", fail)
    async with endpoint("http://127.0.0.1:1/") as handler:
        result = await post(handler, order)
    assert isinstance(result, Failed)
    assert (result.reason, result.error[:26]) == (
        FailureReason.HANDLER,
        "RuntimeError: out of order",
    )


async def test_a_cancelled_call_hangs_up_and_the_next_one_works(order: Order) -> None:
    async with ScriptedServer(silence) as server, endpoint(server.url) as handler:
        attempt = OneAttempt()
        call = asyncio.create_task(handler(order, attempt))
        await asyncio.wait_for(server.asked.wait(), DEADLINE)
        attempt.cut_short = INTERRUPTED
        call.cancel()
        assert await call is INTERRUPTED
        server.reply = answer(204)
        for _ in range(8):
            assert await post(handler, order) is SUCCEEDED


class TestSecrets:
    """Nothing of the URL but scheme, host and port is ever told."""

    basic = base64.b64encode(b"shop:hunter2/@").decode()

    def url(self, server: ScriptedServer) -> str:
        return f"http://shop:{SECRET}%2F%40@127.0.0.1:{server.port}/orders?token={SECRET}"

    async def test_credentials_are_sent_as_basic_auth(self, order: Order) -> None:
        async with ScriptedServer(answer(204)) as server, endpoint(self.url(server)) as handler:
            assert await post(handler, order) is SUCCEEDED
        assert server.posted[0].headers["authorization"] == f"Basic {self.basic}"
        assert server.posted[0].headers["host"] == f"127.0.0.1:{server.port}"
        assert server.posted[0].line == f"POST /orders?token={SECRET} HTTP/1.1"

    async def test_without_credentials_there_is_none(self, order: Order) -> None:
        async with ScriptedServer(answer(204)) as server, endpoint(server.url) as handler:
            assert await post(handler, order) is SUCCEEDED
        assert "authorization" not in server.posted[0].headers

    async def test_an_answer_that_echoes_them_is_not_quoted(
        self, order: Order, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        async with ScriptedServer(answer(401)) as server:
            echo = f"wrong: shop:{SECRET}/@ {self.basic} at {self.url(server)}"
            server.reply = answer(401, echo.encode())
            error = await failure(self.url(server), order)
        assert "wrong: shop:*** *** at http://***@127.0.0.1" in error.error
        assert SECRET not in error.error + caplog.text

    async def test_no_error_holds_them(self, order: Order) -> None:
        async with ScriptedServer(hang_up) as server:
            disconnected = await failure(self.url(server), order)
        refused = await failure(self.url(server), order)
        for error in (disconnected, refused):
            assert SECRET not in repr(error)


async def test_proxies_of_the_environment_are_not_used(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with ScriptedServer(answer(204)) as server, endpoint(server.url) as handler:
        assert await post(handler, order) is SUCCEEDED


async def test_cookies_do_not_travel_from_one_order_to_another(order: Order) -> None:
    greeting = answer(200, Set_Cookie="session=1; Path=/")
    async with ScriptedServer(greeting) as server, endpoint(server.url) as handler:
        assert await post(handler, order) is SUCCEEDED
        assert await post(handler, order) is SUCCEEDED
    assert all("cookie" not in posted.headers for posted in server.posted)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
    if shutil.which("openssl") is None:
        pytest.fail("openssl is missing; run: sudo apt-get install -y openssl")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*command.split(), *names, "-keyout", file, "-out", file], check=True, capture_output=True
    )
    return file


@pytest.mark.parametrize("trusted", [False, True])
async def test_tls_is_verified(
    order: Order, certificate: Path, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with ScriptedServer(answer(204), tls=context) as server:
        if trusted:
            async with endpoint(server.url) as handler:
                assert await post(handler, order) is SUCCEEDED
        else:
            error = await failure(server.url, order)
            assert isinstance(error, Failed)
            assert "CERTIFICATE_VERIFY_FAILED" in error.error
            assert server.posted == []
