"""The metrics port: what it answers, and that no client can keep Prometheus out."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest

from fulfillment_worker.observability.health import Health
from fulfillment_worker.observability.server import MetricsServer, ServerLimits
from tests.support.eventually import eventually
from tests.unit.observability.support import (
    attempt,
    connect,
    fetch,
    new_metrics,
    read_to_end,
    serving,
)

_PATHS = ("/metrics", "/health", "/livez", "/readyz")
_SHORT = ServerLimits(request=0.2, idle=0.2)


@pytest.fixture(scope="module")
def server() -> Iterator[MetricsServer]:
    with serving() as running:
        yield running


def test_metrics(server: MetricsServer) -> None:
    status, headers, body = fetch(server, "/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b'orders_processed_total{status="success"} 0.0\n' in body
    assert b"# EOF" not in body


def test_openmetrics_with_exemplars_when_asked_for() -> None:
    metrics = new_metrics()
    metrics.observe(attempt(trace_id="ab" * 16))
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    with serving(metrics.registry) as server:
        _, headers, body = fetch(server, "/metrics", headers={"Accept": accept})
        _, _, plain = fetch(server, "/metrics")
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    assert b"trace_id" in body
    assert b"trace_id" not in plain


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain;version=x.y", "\xff;=;,;version="])
def test_any_accept_header_gets_a_page(server: MetricsServer, accept: str) -> None:
    assert fetch(server, "/metrics", headers={"Accept": accept})[0] == 200


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; version=1.0.0; escaping=allow-utf-8", True),
        ('text/plain, application/openmetrics-text;version="1.0.0"', True),
        ("application/openmetrics-text;version=0.0.1;q=0.9,text/plain;q=0.1", False),
        ("application/openmetrics-text;q=0.4,text/plain;version=0.0.4;q=0.5", False),
        ("application/openmetrics-text;q=0.4,text/plain;version=1.0.0;q=0.5", True),
        ("application/openmetrics-text;q=0,text/plain;q=0", False),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.2,*/*;q=0.5", True),
        ("application/openmetrics-text;q=0.3,*/*;q=0.5", False),
    ],
)
def test_a_client_gets_the_format_that_it_likes_best(
    server: MetricsServer, accept: str, openmetrics: bool
) -> None:
    _, _, body = fetch(server, "/metrics", headers={"Accept": accept})
    assert body.endswith(b"# EOF\n") == openmetrics


def test_gzip(server: MetricsServer) -> None:
    _, headers, body = fetch(server, "/metrics", headers={"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert b"orders_processed_total" in gzip.decompress(body)


@pytest.mark.parametrize(
    ("accept_encoding", "zipped"),
    [
        ("", False),
        ("identity", False),
        ("deflate, br, zstd", False),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("GZIP", True),
        ("x-gzip", True),
        (" gzip ; q=0.001 ", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=0, *", False),
        ("gzip; Q=0", False),
        ("gzip, identity", True),
        ("gzip, *;q=0", True),
        ("gzip;q=0.5, identity;q=0.8", False),
        ("gzip;q=0.8, identity;q=0.5", True),
        ("gzip;q=0, identity;q=0", False),
        ("identity;q=0", False),
        ("identity;q=0, *", True),
        ("identity;q=0, *;q=0", False),
        ("*", False),
        ("*;q=0", False),
        ("notgzip, gzipped", False),
        ("gzip;q=x", True),
        (";,=;q", False),
    ],
)
def test_gzip_is_sent_where_the_client_takes_it(
    server: MetricsServer, accept_encoding: str, zipped: bool
) -> None:
    headers = {"Accept-Encoding": accept_encoding}
    _, told, body = fetch(server, "/metrics", headers=headers)
    assert told["Content-Encoding"] == ("gzip" if zipped else None)
    assert body.startswith(b"\x1f\x8b") == zipped


def test_headers_of_several_lines_are_one_list(server: MetricsServer) -> None:
    with connect(server) as client:
        client.sendall(
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Accept-Encoding: gzip\r\nAccept-Encoding: identity;q=0.5\r\n"
            b"Accept: application/openmetrics-text\r\nAccept: text/plain;q=0.5\r\n\r\n"
        )
        head, _, body = read_to_end(client).partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head
    assert gzip.decompress(body).endswith(b"# EOF\n")


@pytest.mark.parametrize(
    "origin",
    [
        "http://worker-1.shop.example:2112",
        "http://127.0.0.1",
        "HTTP://[::1]:2112",
        "https://user:password@worker",
    ],
)
def test_absolute_form_of_a_target_is_answered_as_its_path(
    server: MetricsServer, origin: str
) -> None:
    """As a proxy sends it: RFC 9112, 3.2.2."""
    status, _, body = fetch(server, f"{origin}/metrics?name[]=orders_received_total")
    names = {line.split(b" ")[0] for line in body.splitlines() if not line.startswith(b"#")}
    assert (status, names) == (200, {b"orders_received_total"})
    assert fetch(server, f"{origin}/metrics", "HEAD")[::2] == (200, b"")
    assert fetch(server, f"{origin}/health")[::2] == (200, b"ok\n")
    assert fetch(server, f"{origin}/metrics", "POST")[0] == 405
    for other in ("", "/", "?/metrics", "/other", "//metrics", "/metrics/", "/http://x/metrics"):
        assert fetch(server, f"{origin}{other}")[0] == 404


@pytest.mark.parametrize("target", ["ftp://x/metrics", "http:///metrics", "http:/metrics"])
def test_absolute_form_that_is_none_is_404(server: MetricsServer, target: str) -> None:
    assert fetch(server, target)[0] == 404


def test_a_filter_by_name(server: MetricsServer) -> None:
    query = "name[]=orders_received_total&name[]=python_threads&name[]=%ff"
    _, _, body = fetch(server, f"/metrics?{query}")
    names = {line.split(b" ")[0] for line in body.splitlines() if not line.startswith(b"#")}
    assert names == {b"orders_received_total", b"python_threads"}


def test_health(server: MetricsServer) -> None:
    assert fetch(server, "/health")[::2] == (200, b"ok\n")
    assert fetch(server, "/health?probe=1")[0] == 200


def test_probes_tell_the_reason() -> None:
    now = 100.0
    health = Health(stuck_after=5, clock=lambda: now)
    with serving(health=health) as server:
        assert fetch(server, "/readyz")[::2] == (503, b"starting\n")
        health.consuming()
        health.looped(now)
        assert fetch(server, "/readyz")[::2] == (200, b"ok\n")
        health.unready("orders", "connection refused")
        assert fetch(server, "/readyz")[::2] == (503, b"queue orders: connection refused\n")
        assert fetch(server, "/livez")[0] == 200
        now += 6
        assert fetch(server, "/livez")[0] == 503
        assert fetch(server, "/health")[0] == 200


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/", "//metrics", "/health/x", "*"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_any_other_path_is_404(server: MetricsServer, path: str, method: str) -> None:
    assert fetch(server, path, method)[0] == 404


@pytest.mark.parametrize("path", _PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_any_other_method_is_405(server: MetricsServer, path: str, method: str) -> None:
    status, headers, _ = fetch(server, path, method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", [*_PATHS, "/nothing"])
def test_head_is_get_without_the_body(server: MetricsServer, path: str) -> None:
    got, got_headers, _ = fetch(server, path)
    status, headers, body = fetch(server, path, "HEAD")
    assert (status, body) == (got, b"")
    assert headers["Content-Type"] == got_headers["Content-Type"]
    assert int(headers["Content-Length"]) > 0


def test_a_header_that_is_too_large_is_431(server: MetricsServer) -> None:
    with connect(server) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 65536)
        assert read_to_end(client).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "rubbish", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\x00" * 99]
)
def test_rubbish_is_400(server: MetricsServer, rubbish: bytes) -> None:
    with connect(server) as client:
        client.sendall(rubbish + b"\r\n\r\n")
        assert read_to_end(client).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/metrics", 405), ("POST", "/x", 404), ("GET", "/metrics", 413), ("GET", "/x", 404)],
)
def test_a_body_is_not_read(server: MetricsServer, method: str, path: str, status: int) -> None:
    got, headers, _ = fetch(server, path, method, body=b"x" * 300_000)
    assert (got, headers["Connection"]) == (status, "close")


def test_a_request_smuggled_in_a_body_is_not_answered(server: MetricsServer) -> None:
    inner = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    head = f"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: {len(inner)}\r\n\r\n"
    with connect(server) as client:
        client.sendall(head.encode() + inner)
        assert read_to_end(client).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_body_that_is_malformed_is_400(server: MetricsServer, method: bytes) -> None:
    with connect(server) as client:
        chunked = b" /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        client.sendall(method + chunked)
        head, _, body = read_to_end(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert (body == b"") == (method == b"HEAD")


def test_a_client_that_goes_on_sending_after_its_answer_is_cut_off(server: MetricsServer) -> None:
    with connect(server) as client:
        client.sendall(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                client.sendall(b"x" * 65536)
    assert fetch(server, "/health")[0] == 200


def test_a_client_that_leaves_amid_a_request_gets_no_answer(server: MetricsServer) -> None:
    with connect(server) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHo")
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b""


def test_connections_are_kept_and_http_1_0_is_not(server: MetricsServer) -> None:
    with connect(server) as client:
        for _ in range(3):
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(65536).endswith(b"ok\n")
        client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert read_to_end(client).endswith(b"ok\n")


def test_pipelined_requests_are_answered_in_order(server: MetricsServer) -> None:
    paths = [b"/health", b"/metrics", b"/nothing", b"/readyz"] * 25
    with connect(server) as client:
        lines = [b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths]
        client.sendall(b"".join(lines) + b"GET /health HTTP/1.0\r\n\r\n")
        received = read_to_end(client)
    statuses = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"404", b"503"] * 25 + [b"200"]


def test_a_client_that_sends_half_a_request_is_cut_off() -> None:
    with serving(limits=_SHORT) as server, connect(server) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHo")
        assert read_to_end(client) == b""


def test_sending_a_byte_now_and_then_does_not_move_the_deadline() -> None:
    with serving(limits=_SHORT) as server, connect(server) as client:
        client.settimeout(0.02)
        # Ends when the server cuts it off; were the deadline to move, it would go on for ever.
        with contextlib.suppress(ConnectionError):
            while True:
                client.sendall(b"G")
                with contextlib.suppress(TimeoutError):
                    if not client.recv(1):
                        break


def test_an_idle_connection_is_closed_in_the_end() -> None:
    with serving(limits=_SHORT) as server, connect(server) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_to_end(client).endswith(b"ok\n")


def test_a_client_that_never_reads_is_cut_off() -> None:
    with serving(limits=_SHORT) as server, connect(server) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        hung_up = select.poll()
        hung_up.register(client, select.POLLHUP)
        assert hung_up.poll(20_000), "the client is cut off"
        assert read_to_end(client).count(b"HTTP/1.1 200") < 1000
        assert fetch(server, "/health")[0] == 200


class Large:
    """A page that is larger than what the kernel takes for a client that doesn't read."""

    def __init__(self) -> None:
        self.asked = 0

    def collect(self) -> Any:
        self.asked += 1
        yield Metric("large", "x" * 400_000, "gauge")

    def describe(self) -> Any:
        return []


def test_a_client_that_reads_slowly_gets_all_of_it() -> None:
    registry, large = CollectorRegistry(), Large()
    registry.register(large)
    with serving(registry, limits=ServerLimits(request=60)) as server, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(120)
        client.connect(("127.0.0.1", server.port))
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        client.sendall(request * 3 + b"GET /health HTTP/1.0\r\n\r\n")
        eventually(lambda: large.asked, what="there is a page, of which the kernel takes a part")
        assert fetch(server, "/health")[0] == 200
        assert large.asked == 1, "its next page waits until it has taken this one"
        received = read_to_end(client)
    answers = received.split(b"HTTP/1.1 200 ")[1:]
    assert len(answers) == 4
    for answer in answers[:3]:
        assert answer.partition(b"\r\n\r\n")[2] == generate_latest(registry)


def test_a_client_that_closes_its_side_after_asking_is_answered(server: MetricsServer) -> None:
    with connect(server) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert b"orders_processed_total" in read_to_end(client)


def _openmetrics_is_served(server: MetricsServer) -> bool:
    accept = {"Accept": "application/openmetrics-text"}
    with contextlib.suppress(ConnectionError):
        return fetch(server, "/metrics", headers=accept)[0] == 200
    return False


def test_one_whose_deadline_passes_while_its_page_waits_is_forgotten() -> None:
    registry, counting = CollectorRegistry(), Counting()
    registry.register(counting)

    with serving(registry, limits=ServerLimits(request=0.05)) as server:
        assert fetch(server, "/metrics")[0] == 200
        with connect(server) as client:  # its page must wait for some 80 ms
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_to_end(client) == b""
        # Another page comes after all that were asked for earlier.
        eventually(
            lambda: _openmetrics_is_served(server), what="the rest after the first page is over"
        )
        assert counting.asked == 2, "nothing was rendered for the client that was cut off"


def test_hundreds_of_half_requests_do_not_keep_prometheus_out() -> None:
    limits = ServerLimits(request=60, connections=512)
    with serving(limits=limits) as server, ExitStack() as stack:
        hung_up = select.poll()
        for _ in range(600):
            client = stack.enter_context(connect(server))
            client.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
            hung_up.register(client, select.POLLIN)
        for _ in range(5):
            assert fetch(server, "/metrics")[0] == 200
        # None of them is answered: one that can be read from was closed. And a scrape that has just
        # ended may still be counted.
        eventually(lambda: 500 <= 600 - len(hung_up.poll(0)) <= 512, what="the limit is kept")


def test_a_client_that_asks_is_not_closed_for_idlers() -> None:
    registry = CollectorRegistry()
    registry.register(Counting(1.0))
    with serving(registry, limits=ServerLimits(request=60, connections=8)) as server:
        assert fetch(server, "/metrics")[0] == 200
        with connect(server) as kept, connect(server) as client, ExitStack() as stack:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")  # rendered after a rest of 4 s
            kept.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert kept.recv(65536).endswith(b"ok\n")
            hung_up = select.poll()
            for _ in range(40):
                hung_up.register(stack.enter_context(connect(server)), select.POLLIN)
            eventually(lambda: len(hung_up.poll(0)) >= 32, what="idlers make room for idlers")
            assert read_to_end(client).startswith(b"HTTP/1.1 200 ")
            kept.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            assert read_to_end(kept).endswith(b"ok\n")


def test_the_one_that_went_longest_without_a_request_makes_room() -> None:
    with serving(limits=ServerLimits(connections=2)) as server, ExitStack() as stack:
        first, second = (stack.enter_context(connect(server)) for _ in range(2))
        for client in (second, first):
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(65536).endswith(b"ok\n")
        assert fetch(server, "/health")[0] == 200
        assert read_to_end(second) == b""
        first.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert first.recv(65536).endswith(b"ok\n")


def test_running_out_of_descriptors_is_survived() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(limits=ServerLimits(request=60)) as server, ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(40)]
        highest = max(client.fileno() for client in clients)
        try:
            # The clients have their descriptors already: only the server's side runs out.
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 10, hard))
            for client in clients:
                client.connect(("127.0.0.1", server.port))
            last = clients[-1]
            last.settimeout(120)
            last.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert last.recv(65536).endswith(b"ok\n")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


_FORKS_AMID_A_SCRAPE = """
import contextlib, os, socket
from prometheus_client import CollectorRegistry
from fulfillment_worker.system.forks import watch_for_forks
from fulfillment_worker.observability.health import Health
from fulfillment_worker.observability.server import MetricsServer

class Forks:
    def collect(self):
        if os.fork() == 0:
            for each in os.listdir("/proc/self/fd"):
                with contextlib.suppress(OSError):
                    if socket.socket(fileno=os.dup(int(each))).family == socket.AF_INET:
                        os.write(1, b"a connection\\n")
            os._exit(0)
        return []

    def describe(self):
        return []

watch_for_forks()
registry = CollectorRegistry()
registry.register(Forks())
server = MetricsServer("127.0.0.1", 0, registry=registry, health=Health(stuck_after=5))
server.bind()
server.start()
print(server.port, flush=True)
input()
"""


def test_fork_amid_a_scrape_has_no_connection_of_the_server() -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", _FORKS_AMID_A_SCRAPE]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as program:
        assert program.stdout is not None
        port = int(program.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), timeout=120) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert read_to_end(client).startswith(b"HTTP/1.1 200 ")
        assert program.communicate("\n")[0] == ""


class Broken:
    def collect(self) -> Any:
        raise RuntimeError("redis://:hunter2@example.org")

    def describe(self) -> Any:
        return []


def test_a_page_that_cannot_be_rendered_is_500_with_one_line() -> None:
    registry = CollectorRegistry()
    registry.register(Broken())
    with serving(registry) as server:
        status, _, body = fetch(server, "/metrics")
        assert fetch(server, "/health")[0] == 200
    assert (status, body.count(b"\n")) == (500, 1)
    assert b"RuntimeError" in body
    assert b"hunter2" not in body


class Counting:
    """A collector that counts how often it is asked, and takes its time."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.asked = 0
        self.seconds = seconds

    def collect(self) -> Any:
        self.asked += 1
        time.sleep(self.seconds)  # the work of a large page
        return []

    def describe(self) -> Any:
        return []


def test_a_crowd_of_scrapes_shares_its_pages() -> None:
    registry, counting = CollectorRegistry(), Counting()
    registry.register(counting)
    with serving(registry) as server:
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(fetch(server, "/metrics")[0]))
            for _ in range(40)
        ]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - started
    assert statuses == [200] * 40
    # Each rendering of 20 ms is followed by 80 ms of rest.
    assert counting.asked <= took / 0.1 + 1


def test_a_page_is_never_older_than_its_request() -> None:
    metrics = new_metrics()
    with serving(metrics.registry) as server:
        for count in range(1, 20):
            metrics.observe(attempt())
            _, _, body = fetch(server, "/metrics?name[]=orders_processed_total")
            assert f'orders_processed_total{{status="success"}} {count}.0\n'.encode() in body


def _server(host: str, port: int) -> MetricsServer:
    registry = CollectorRegistry()
    return MetricsServer(host, port, registry=registry, health=Health(stuck_after=1))


@pytest.mark.parametrize("host", ["127.0.0.1", "", "localhost", "0.0.0.0"])
@pytest.mark.parametrize("taken_on", ["127.0.0.1", ""])
def test_a_taken_port_is_an_error_in_the_caller(host: str, taken_on: str) -> None:
    first = _server(taken_on, 0)
    first.bind()
    try:
        with pytest.raises(OSError, match="in use") as failure:
            _server(host, first.port).bind()
        assert failure.value.errno == errno.EADDRINUSE
    finally:
        first.stop()


def test_a_host_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(OSError, match=r"assign|known|resol"):
        _server("192.0.2.1", 0).bind()


def test_all_interfaces_are_served() -> None:
    addresses = ["127.0.0.1", "::1"] if socket.has_dualstack_ipv6() else ["127.0.0.1"]
    server = _server("", 0)
    server.bind()
    server.start()
    try:
        for address in addresses:
            with socket.create_connection((address, server.port), timeout=120) as client:
                client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                assert read_to_end(client).endswith(b"ok\n")
    finally:
        server.stop()


def test_without_ipv6_all_interfaces_are_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    server = _server("", 0)
    server.bind()
    assert server._sockets[0].family == socket.AF_INET
    server.stop()


def test_the_port_is_free_again_after_stop() -> None:
    first = _server("127.0.0.1", 0)
    first.bind()
    first.start()
    client = socket.create_connection(("127.0.0.1", first.port), timeout=120)
    first.stop()
    first.stop()
    assert read_to_end(client) == b""
    client.close()
    second = _server("127.0.0.1", first.port)
    second.bind()
    second.stop()


def test_start_before_bind_is_a_mistake() -> None:
    with pytest.raises(RuntimeError, match="before bind"):
        _server("127.0.0.1", 0).start()


def test_a_start_that_fails_says_so() -> None:
    server = _server("127.0.0.1", 0)
    server.bind()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        server.stop()


def test_a_scrape_is_served_while_another_thread_is_busy(server: MetricsServer) -> None:
    busy = True

    def spin() -> None:
        while busy:
            pass

    spinner = threading.Thread(target=spin)
    spinner.start()
    try:
        assert fetch(server, "/metrics")[0] == 200
    finally:
        busy = False
        spinner.join()


def test_the_server_is_no_obstacle_to_exit(server: MetricsServer) -> None:
    assert all(t.daemon for t in threading.enumerate() if t.name == "metrics-server")
