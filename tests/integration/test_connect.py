"""Opening a connection: addresses that lead nowhere, and what is said where it fails."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fulfillment_worker.admin.redis_client import connect, connected, open_client
from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.queue.discovery import FAULTS, open_connection
from fulfillment_worker.queue.redis_errors import explain
from tests.support.black_hole import black_hole
from tests.support.certificates import (
    certify,
    make_authority,
    make_lax_authority,
    server_options,
)
from tests.support.far import KINDS, far_away
from tests.support.process import free_port
from tests.support.redis_server import RedisServer

NewRedis = Callable[..., RedisServer]


async def answers(text: str) -> bool:
    """Whether a worker's connection to this address works."""
    connection = await open_connection(RedisUrl.parse(text), "orders")
    (reply,) = await connection.ask([("ECHO", "x")])
    connection.close()
    return bool(reply == b"x")


async def what_is_said(text: str) -> str:
    url = RedisUrl.parse(text)
    try:
        connection = await open_connection(url, "orders")
    except FAULTS as error:
        return explain(error, url)
    connection.close()
    return "connected"


# --- addresses ----------------------------------------------------------------------------------


@pytest.fixture
def hole() -> Iterator[int]:
    with black_hole() as port:
        yield port


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch, hole: int, redis_7: RedisServer) -> str:
    """The address of a server whose name has two, of which the first leads nowhere."""
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *more: Any, **options: Any) -> Any:
        if host != "redis.example":
            return real(host, port, *more, **options)
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, ("127.0.0.1", each)) for each in (hole, redis_7.port)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return "redis://redis.example:6379/0"


async def test_address_that_leads_nowhere_does_not_hide_the_next(two_addresses: str) -> None:
    assert await answers(two_addresses)


async def test_commands_try_the_next_address_too(two_addresses: str) -> None:
    client = open_client(RedisUrl.parse(two_addresses))
    await connect(client)
    assert await client.echo("x") == b"x"
    await client.aclose()


@pytest.mark.parametrize("kind", ["Sentinel", "Cluster", "TLS Sentinel", "TLS Cluster"])
async def test_first_host_that_leads_nowhere_does_not_hide_the_others(
    tmp_path: Path, hole: int, kind: str
) -> None:
    with far_away(tmp_path / "far", kind, 0.0) as far:
        text = far.url.replace("127.0.0.1:", f"127.0.0.1:{hole},127.0.0.1:", 1)
        assert await answers(text)
        url = RedisUrl.parse(text)
        async with connected(url) as client:
            await client.lpush("orders", "x")


@pytest.mark.parametrize("kind", KINDS)
async def test_round_trips_of_a_connection_are_few(tmp_path: Path, kind: str) -> None:
    """With so much latency, each further round trip would be more than the time-out of all."""
    with far_away(tmp_path / "far", kind, 0.5) as far:
        assert await answers(far.url)


# --- what is said ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca, server and client, each .crt and .key; `stranger` is of another authority."""
    folder = tmp_path_factory.mktemp("certificates")
    make_authority(folder, "ca")
    make_authority(folder, "other")
    certify(folder, "server", "ca")
    certify(folder, "client", "ca")
    certify(folder, "stranger", "other")
    return folder


@pytest.fixture
def guarded(new_redis: NewRedis, files: Path) -> tuple[int, int]:
    """The plain port and the TLS port of a server that wants a password and certificates."""
    port = free_port()
    tls = server_options(files, port, clients="yes")
    return new_redis("redis-7", *tls, "--requirepass", "right").port, port


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("redis://:right@127.0.0.1:{plain}", "connected"),
        ("redis://127.0.0.1:{plain}", "needs a password, and none was given: write redis://:PASS"),
        ("redis+cluster://127.0.0.1:{plain}", "needs a password, and none was given"),
        ("redis://:wrong@127.0.0.1:{plain}", "refused the user name or the password"),
        ("redis+sentinel://127.0.0.1:{plain}/shop", "add ?sentinel_password="),
        (
            "redis+sentinel://127.0.0.1:{plain}/shop?sentinel_password=wrong",
            "a sentinel that refused the user name or the password: correct sentinel_username",
        ),
        ("redis://:right@127.0.0.1:{plain}/99", "refused: DB index is out of range"),
        ("rediss://:right@127.0.0.1:{plain}?{ca}", "port {plain} of 127.0.0.1 speaks no TLS"),
        ("rediss+cluster://:right@127.0.0.1:{plain}?{ca}", "or write redis+cluster://"),
        ("redis://:right@127.0.0.1:{tls}", "speaks TLS: write rediss://"),
        ("redis+cluster://:right@127.0.0.1:{tls}", "speaks TLS: write rediss+cluster://"),
        ("rediss://:right@127.0.0.1:{tls}?{ca}&{own}", "connected"),
        ("rediss://:right@127.0.0.1:{tls}?{ca}", "a certificate of the client"),
        (
            "rediss://:right@127.0.0.1:{tls}?{ca}&ssl_certfile={at}/stranger.crt"
            "&ssl_keyfile={at}/stranger.key",
            "trust the certificate in",
        ),
        (
            "rediss://:right@127.0.0.1:{tls}?ssl_ca_certs={at}/other.crt&{own}",
            "it is not signed by the authority in {at}/other.crt",
        ),
        (
            "rediss://:right@127.0.0.1:{tls}?{own}",
            "it is not signed by an authority that the system trusts; name its authority",
        ),
        ("rediss://127.0.0.1:{tls}?ssl_ca_certs=/no/ca", "ssl_ca_certs is /no/ca, which can't be"),
        ("rediss://127.0.0.1:{tls}?ssl_certfile=/no/c", "ssl_certfile is /no/c, which can't be"),
        ("rediss://127.0.0.1:{tls}?ssl_keyfile=/no/k", "ssl_keyfile is /no/k, which can't be"),
        ("rediss://127.0.0.1:{tls}?ssl_ca_certs={at}/ca.key", "which holds no certificate in PEM"),
        ("rediss://127.0.0.1:{tls}?ssl_keyfile={at}/ca.key", "add ssl_certfile"),
        (
            "rediss://127.0.0.1:{tls}?ssl_certfile={at}/client.crt&ssl_keyfile={at}/stranger.key",
            "the key does not belong to the certificate",
        ),
    ],
)
async def test_failure_to_connect_says_what_to_do(
    guarded: tuple[int, int], files: Path, address: str, says: str
) -> None:
    plain, tls = guarded
    filled = {
        "plain": plain,
        "tls": tls,
        "at": files,
        "ca": f"ssl_ca_certs={files}/ca.crt",
        "own": f"ssl_certfile={files}/client.crt&ssl_keyfile={files}/client.key",
    }
    said = await what_is_said(address.format(**filled))
    assert says.format(**filled) in said
    assert "\n" not in said
    assert "right" not in said.replace("***", "")


async def test_certificate_for_another_host_is_said_to_be(
    new_redis: NewRedis, tmp_path: Path
) -> None:
    make_authority(tmp_path, "ca")
    certify(tmp_path, "server", "ca", names="DNS:elsewhere.example")
    port = free_port()
    new_redis("redis-7", *server_options(tmp_path, port))
    said = await what_is_said(f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/ca.crt")
    assert "certificate verify failed for 127.0.0.1: it is for another host" in said


async def test_authority_that_new_pythons_refuse_is_told_with_what_it_lacks(
    new_redis: NewRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_lax_authority(tmp_path, "ca")
    certify(tmp_path, "server", "ca")
    port = free_port()
    new_redis("redis-7", *server_options(tmp_path, port))
    as_ever = ssl.create_default_context

    def strict() -> ssl.SSLContext:
        made = as_ever()
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        return made

    monkeypatch.setattr(ssl, "create_default_context", strict)
    said = await what_is_said(f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/ca.crt")
    assert "does not include key usage extension, which Python 3.13" in said


async def test_encrypted_key_is_refused_without_asking_anybody(tmp_path: Path, files: Path) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", str(files / "client.key")]
    process = await asyncio.create_subprocess_exec(*command, "-out", str(locked))
    assert await process.wait() == 0
    own = f"ssl_certfile={files}/client.crt&ssl_keyfile={locked}"
    said = await what_is_said(f"rediss://127.0.0.1:{free_port()}?{own}")
    assert re.search(r"ssl_keyfile is encrypted", said)
