"""The console as browsers and programs use it, on a real Redis with a real worker."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.calls import NOTE, Calls
from tests.support.console import RunningConsole
from tests.support.eventually import eventually
from tests.support.orders import place, place_by_hand, wait_until_all
from tests.support.process import run_cli
from tests.support.redis_server import RedisServer, wait_for_status
from tests.support.topology import cluster
from tests.support.worker import RunningWorker

StartWorker = Callable[..., RunningWorker]
StartConsole = Callable[..., RunningConsole]

TOKEN = "a-token-of-some-length"
EVIL = "<script>alert('x')</script>"
SHOP = (
    NOTE
    + """
import asyncio
from fulfillment_worker import Reject

async def fulfil(order):
    note(order, "start")
    if order.body.get("sku"):
        raise Reject("no such SKU " + order.body["sku"])
    if order.body.get("waits"):
        await asyncio.sleep(3600)
    return {"tracking": "DHL 7", "email": "jane@shop.example.com"}
"""
)
PAGES = ("/", "/dead", "/workers", "/audit", "/orders/A-1")


@pytest.fixture
def run_console() -> Iterator[StartConsole]:
    """Starts consoles, as RunningConsole does."""
    with ExitStack() as stack:

        def start(redis_url: str, *options: str, **more: object) -> RunningConsole:
            return stack.enter_context(RunningConsole(redis_url, options, **more))  # type: ignore[arg-type]

        yield start


def audit(server: RedisServer) -> list[dict[str, str]]:
    with server.client(decode_responses=True) as client:
        return [fields for _, fields in client.xrange("{orders}:audit")]


def wait_until_dead(server: RedisServer, many: int) -> None:
    with server.client() as client:
        eventually(
            lambda: client.hlen("{orders}:dead") == many, what=f"there are {many} dead letters"
        )


def eventually_shown(console: RunningConsole, path: str, text: str) -> str:
    """What the page shows once this is part of it."""

    def shown() -> str:
        told = console.get(path).shown
        assert text in told, told
        return told

    return eventually(shown, what=f"{path} shows {text!r}")


def test_pages_of_an_empty_queue_say_so(
    redis_server: RedisServer, run_console: StartConsole
) -> None:
    console = run_console(redis_server.url)
    overview = console.get("/")
    assert overview.status == 200
    assert "No worker is alive." in overview.shown
    assert "All 0 orders received are accounted for" in overview.shown
    assert "There are none. All is well." in console.get("/dead").shown
    assert "No worker has been heard of" in console.get("/workers").shown
    assert "Nobody has done anything yet." in console.get("/audit").shown
    unknown = console.order("A-1")
    assert (unknown.status, "No queue has it" in unknown.shown) == (404, True)
    assert console.get("/api/orders/A-1").status == 404
    assert console.get("/letters/orders/1").status == 404
    assert console.get("/dead/orders/rejected-1234").status == 404
    assert console.get("/dead/elsewhere/rejected-1234").status == 404
    assert console.get("/nothing/here").status == 404
    assert console.get("/orders?id=%20A%2F1%20").headers["location"] == "/orders/A%2F1"
    assert console.terminate() == 0


def test_console_shows_where_orders_are_and_what_killed_them(
    redis_server: RedisServer, run_worker: StartWorker, run_console: StartConsole, calls: Calls
) -> None:
    run_worker(redis_server.url, SHOP, env=calls.env)
    waits = {"order_id": "W-1", "waits": True}
    rejected = [{"order_id": f"R-{i}", "sku": f"M{i}", "card": "4111"} for i in range(3)]
    place(redis_server, [{"order_id": "A-1"}, waits, *rejected])
    wait_until_all(redis_server, [{"order_id": "A-1"}])
    wait_until_dead(redis_server, 3)
    wait_for_status(redis_server, "W-1", "processing")
    console = run_console(redis_server.url)

    fulfilled = console.order("A-1")
    assert "It is fulfilled, and nothing is left to do." in fulfilled.shown
    assert "DHL 7" in fulfilled.shown
    assert "jane@" not in fulfilled.text
    assert "It is being handled now: attempt 1 runs for" in console.order("W-1").shown

    dead = console.order("R-1")
    assert "retries or drops it: no such SKU M1." in dead.shown
    assert "Last traceback" in dead.shown
    (group,) = re.findall(r'href="(/dead/orders/[^"]+)"', console.get("/").text)
    letters = console.get(group)
    assert letters.shown.count("no such SKU M") == 3
    numbers = re.findall(r'href="(/letters/orders/\d+)"', letters.text)
    letter = console.get(numbers[0])
    assert "Traceback" in letter.shown
    assert '"card": "▇▇▇▇"' in letter.shown
    assert "4111" not in letter.text

    workers = console.get("/workers").shown
    assert "W-1" in workers
    assert "All 5 orders received are accounted for" in console.get("/").shown
    (queue,) = console.get("/api/workers").json["queues"]
    assert [order["order_id"] for order in queue["orders"]] == ["W-1"]
    told = console.get("/api/orders/R-1").json
    assert (told["status"], told["order"]["error"]) == ("dead", "no such SKU M1")
    assert (console.get("/api/orders/A-1").json["order"]["note"])["tracking"] == "DHL 7"


def test_search_finds_orders_without_a_record(
    redis_server: RedisServer, run_console: StartConsole
) -> None:
    place(redis_server, [{"order_id": "A-1"}, {"order_id": "A-2"}, {"order_id": "a/b ü?"}])
    console = run_console(redis_server.url)
    assert "It waits to be handled: 1 order is before it, and no worker" in (
        console.order("A-2").shown
    )
    assert "number 3" in console.order("a/b ü?").shown
    assert console.order("x" * 129).status == 400
    assert console.order("a\x1bb").status == 400
    with redis_server.client() as client:
        assert client.llen("orders") == 3


def test_search_prefers_the_queue_that_has_the_order(
    redis_server: RedisServer, run_console: StartConsole
) -> None:
    place(redis_server, [{"order_id": "A-1"}], queue="returns")
    with redis_server.client() as client:
        client.hset("{orders}:order:A-1", mapping={"wish": "hold", "wish_by": "ops"})
    console = run_console(redis_server.url, "--queue", "orders,returns")
    told = console.get("/api/orders/A-1").json
    assert (told["status"], told["order"]["queue"]) == ("waiting", "returns")


def test_hostile_orders_are_text(
    redis_server: RedisServer, run_worker: StartWorker, run_console: StartConsole, calls: Calls
) -> None:
    run_worker(redis_server.url, SHOP, env=calls.env)
    place(redis_server, [{"order_id": EVIL, "sku": EVIL, EVIL: EVIL}])
    place_by_hand(redis_server, [EVIL.encode(), b"\xff\x00{", b"[" * 50_000])
    wait_until_dead(redis_server, 4)
    console = run_console(redis_server.url, "--allow", "all")
    pages = [console.get(path) for path in ("/", "/dead", "/audit", "/workers")]
    pages += [console.order(EVIL)]
    pages += [console.get(f"/letters/orders/{number}") for number in range(1, 5)]
    groups = set(re.findall(r'href="(/dead/orders/[^"]+)"', pages[1].text))
    pages += [console.get(group) for group in groups]
    pages += [console.get(f"/acts/hold?order_id={quote(EVIL)}")]
    held = console.act(f"/acts/cancel?order_id={quote(EVIL)}", why=EVIL)
    for page in (*pages, held, console.get("/audit"), console.order(EVIL)):
        assert page.status in (200, 404), page.shown
        assert "alert('x')</script>" not in page.text
        assert re.findall(r"<script\b[^>]*>", page.text) == re.findall(
            r'<script src="/static/console\.js\?\w+" defer>', page.text
        )
    assert EVIL in console.get("/audit").shown


def test_every_answer_tells_browsers_to_run_nothing_foreign(
    redis_server: RedisServer, run_console: StartConsole
) -> None:
    console = run_console(redis_server.url)
    for path in (*PAGES, "/nothing", "/api/overview", "/static/console.css", "/sign-in"):
        headers = console.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
    page = console.get("/").text
    assert not re.findall(r"""(?:src|href|action)=["']?(?:https?:)?//""", page)
    assert not re.findall(r"\son\w+=|\sstyle=", page)
    sent = console.get("/", headers={"Cookie": ""}).headers["set-cookie"]
    assert "HttpOnly" in sent
    assert "SameSite=Strict" in sent


def test_foreign_host_is_refused(redis_server: RedisServer, run_console: StartConsole) -> None:
    console = run_console(redis_server.url, "--server-name", "console.shop.example")
    for host in ("evil.example", "127.0.0.1.evil.example:80", ""):
        answer = console.get("/", headers={"Host": host})
        assert answer.status in (400, 421), host
        assert "orders" not in answer.text
        assert "set-cookie" not in answer.headers
    for host in ("localhost:1", "console.shop.example", "[::1]:8080"):
        assert console.get("/", headers={"Host": host}).status == 200


def test_read_only_console_changes_nothing(
    redis_server: RedisServer, run_console: StartConsole
) -> None:
    place(redis_server, [{"order_id": "A-1"}])
    console = run_console(redis_server.url)
    assert "/acts/" not in console.get("/").text
    assert "/acts/" not in console.order("A-1").text
    for act in ("hold", "release", "cancel", "retry", "drop", "pause", "resume"):
        refused = console.get(f"/acts/{act}?order_id=A-1&queue=orders&number=1")
        assert refused.status == 403
        assert f"--allow {'pause' if act == 'resume' else act}" in refused.shown or (
            act == "release" and "--allow hold" in refused.shown
        )
    assert console.post("/acts/pause", {"queue": "orders"}).status == 403
    assert console.post_json("/api/acts/hold", {"order_id": "A-1"}).status == 403
    assert audit(redis_server) == []


def test_act_needs_its_own_right_and_the_form_of_this_session(
    redis_server: RedisServer, run_console: StartConsole
) -> None:
    console = run_console(redis_server.url, "--allow", "pause")
    asked = console.get("/acts/pause?queue=orders")
    assert console.get("/acts/hold?order_id=A-1").status == 403
    fields = asked.hidden
    assert console.post("/acts/pause", {**fields, "csrf": "0" * 64}).status == 403
    assert console.post("/acts/pause", {"queue": "orders"}).status == 403
    assert console.post("/acts/pause", fields, headers={"Cookie": "x=1"}).status == 403
    foreign = {"Origin": "https://evil.example"}
    assert console.post("/acts/pause", fields, headers=foreign).status == 403
    assert console.get("/acts/pause?queue=orders").status == 200  # and does nothing
    assert console.ask("PUT", "/acts/pause").status == 405
    assert console.get("/acts/explode").status == 404
    assert audit(redis_server) == []


def test_pause_and_resume_are_asked_for_done_and_audited(
    redis_server: RedisServer, run_console: StartConsole
) -> None:
    console = run_console(redis_server.url, "--allow", "pause")
    assert "Pause queue orders: 0 workers, 0 orders waiting?" in (
        console.get("/acts/pause?queue=orders").shown
    )
    assert (
        "orders is paused" in console.act("/acts/pause?queue=orders", "the carrier\nis down").shown
    )
    overview = console.get("/").shown
    assert "It is paused by" in overview
    assert "the carrier is down" in overview
    assert "orders is open" in console.act("/acts/resume?queue=orders").shown
    assert "orders is open already" in console.act("/acts/resume?queue=orders").shown
    assert [act["act"] for act in audit(redis_server)][:2] == ["pause", "resume"]
    assert "the carrier is down" in console.get("/audit").shown


def test_letters_of_one_cause_are_retried_as_they_were_seen(
    redis_server: RedisServer, run_worker: StartWorker, run_console: StartConsole, calls: Calls
) -> None:
    run_worker(redis_server.url, SHOP, env=calls.env)
    place(redis_server, [{"order_id": f"R-{i}", "sku": f"M{i}"} for i in range(3)])
    wait_until_dead(redis_server, 3)
    console = run_console(redis_server.url, "--allow", "retry,drop")
    (group,) = re.findall(r'href="(/dead/orders/[^"]+)"', console.get("/dead").text)
    name = group.rpartition("/")[2]
    path = f"/acts/drop?queue=orders&group={name}"
    asked = console.get(path)
    assert "Drop 3 dead letters of orders?" in asked.shown
    # One more dies after the figure was shown: it stays.
    place(redis_server, [{"order_id": "R-9", "sku": "M9"}])
    wait_until_dead(redis_server, 4)
    refused = console.post("/acts/drop", asked.hidden)
    assert (refused.status, "give a reason" in refused.shown) == (400, True)
    done = console.post("/acts/drop", {**asked.hidden, "why": "gone from the catalogue"})
    assert "dropped 3 dead letters" in done.shown
    with redis_server.client() as client:
        assert client.hlen("{orders}:dead") == 1
    (act,) = audit(redis_server)
    assert (act["act"], act["count"], act["why"]) == ("drop", "3", "gone from the catalogue")
    again = console.post("/acts/drop", {**asked.hidden, "why": "once more"})
    assert "dropped 0 dead letters" in again.shown

    (number,) = re.findall(r"/letters/orders/(\d+)", console.order("R-9").text)[:1]
    retried = console.act(f"/acts/retry?queue=orders&number={number}")
    assert "retried 1 dead letter" in retried.shown
    assert audit(redis_server)[-1]["order_id"] == "R-9"
    wait_until_dead(redis_server, 1)
    assert console.get(f"/acts/retry?queue=orders&number={number}").status == 404
    assert console.get("/acts/retry?queue=orders&number=x").status == 400
    assert console.get("/acts/retry?queue=orders&group=rejected-0000").status == 404


def test_orders_are_held_released_and_cancelled(
    redis_server: RedisServer, run_worker: StartWorker, run_console: StartConsole, calls: Calls
) -> None:
    run_worker(redis_server.url, SHOP, env=calls.env)
    place(redis_server, [{"order_id": "W-1", "waits": True}, {"order_id": "A-1"}])
    wait_for_status(redis_server, "W-1", "processing")
    wait_for_status(redis_server, "A-1", "fulfilled")
    console = run_console(redis_server.url, "--allow", "hold,cancel")
    assert "Hold order W-1, which is processing?" in console.get("/acts/hold?order_id=W-1").shown
    assert "Done" in console.act("/acts/hold?order_id=W-1", "address?").shown
    wait_for_status(redis_server, "W-1", "held")
    held = console.order("W-1")
    assert '"address?"' in held.shown
    assert "/acts/release?order_id=W-1" in held.text
    assert "it is due now" in console.act("/acts/release?order_id=W-1").shown
    wait_for_status(redis_server, "W-1", "processing")
    console.act("/acts/cancel?order_id=W-1", "by phone")
    wait_for_status(redis_server, "W-1", "cancelled")
    assert "It is cancelled, and will not be handled" in console.order("W-1").shown
    late = console.act("/acts/cancel?order_id=A-1", "by phone")
    assert (late.status, "too late" in late.shown) == (409, True)
    assert "it has not arrived" in console.act("/acts/hold?order_id=N-1").shown
    assert "It has not arrived yet" in console.order("N-1").shown


def test_other_addresses_need_a_token(redis_server: RedisServer) -> None:
    for host in ("*", "0.0.0.0", "::"):
        done = run_cli("console", "--host", host, "--redis-url", redis_server.url)
        assert done.returncode == 2
        assert "FULFILLMENT_CONSOLE_TOKEN" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_people_sign_in_with_the_token_and_are_audited_by_name(
    redis_server: RedisServer, run_console: StartConsole
) -> None:
    env = {"FULFILLMENT_CONSOLE_TOKEN": TOKEN}
    options = ("--host", "0.0.0.0", "--allow", "pause")
    console = run_console(redis_server.url, *options, env=env)
    for path in PAGES:
        answer = console.get(path)
        assert (answer.status, answer.headers["location"]) == (303, f"/sign-in?next={path}")
    assert console.get("/api/overview").status == 401
    assert console.post("/acts/pause", {"queue": "orders"}).status == 303
    assert console.get("/static/console.css").status == 200
    wrong = console.post("/sign-in", {"name": "Zoë", "token": "x", "next": "/dead"})
    assert (wrong.status, "This is not the token." in wrong.shown) == (403, True)
    nameless = console.post("/sign-in", {"name": " ", "token": TOKEN})
    assert nameless.status == 403
    away = console.post("/sign-in", {"name": "Zoë", "token": TOKEN, "next": "//evil.example"})
    assert away.headers["location"] == "/"
    signed_in = console.post("/sign-in", {"name": "Zoë", "token": TOKEN, "next": "/dead"})
    assert (signed_in.status, signed_in.headers["location"]) == (303, "/dead")
    assert "you are Zoë" in console.get("/dead").shown
    assert "paused" in console.act("/acts/pause?queue=orders").shown
    assert audit(redis_server)[-1]["by"] == "Zoë"
    csrf = console.get("/acts/pause?queue=orders").hidden["csrf"]
    assert console.post("/sign-out", {"csrf": csrf}).status == 303
    assert console.get("/").status == 303
    assert TOKEN not in console.output


def test_programs_act_with_the_token(redis_server: RedisServer, run_console: StartConsole) -> None:
    place(redis_server, [{"order_id": "A-1"}])
    env = {"FULFILLMENT_CONSOLE_TOKEN": TOKEN}
    console = run_console(redis_server.url, "--allow", "hold,cancel", env=env)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    asked = console.get("/api/acts/hold?order_id=A-1", headers=bearer)
    assert (asked.json["count"], asked.json["post"]) == (1, {"order_id": "A-1"})
    said = {"order_id": "A-1", "why": "address?", "by": "back office"}
    done = console.post_json("/api/acts/hold", said, headers=bearer)
    assert (done.status, done.json["ok"]) == (200, True)
    assert audit(redis_server)[-1]["by"] == "back office"
    lacks = console.post_json("/api/acts/cancel", {"order_id": "A-1"}, headers=bearer)
    assert (lacks.status, "give a reason" in lacks.json["error"]) == (400, True)
    assert console.post_json("/api/acts/hold", [1], headers=bearer).status == 400  # type: ignore[arg-type]
    wrong = {"Authorization": f"Bearer {TOKEN}x"}
    assert console.post_json("/api/acts/hold", said, headers=wrong).status == 401
    huge = console.post_json("/api/acts/hold", {"why": "x" * 100_000}, headers=bearer)
    assert huge.status == 413


def test_api_is_described(redis_server: RedisServer, run_console: StartConsole) -> None:
    place(redis_server, [{"order_id": "A-1"}])
    console = run_console(redis_server.url)
    described = console.get("/api/openapi.json").json
    assert described["openapi"].startswith("3.")
    for path in described["paths"]:
        real = path.format(queue="orders", group="x-1234", number=1, order_id="A-1", act="hold")
        assert console.get(real).headers["content-type"] == "application/json", path
    refs = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described)))
    assert refs <= described["components"]["schemas"].keys()


def test_outage_of_redis_shows_what_was_known_and_ends_by_itself(
    new_redis: Callable[..., RedisServer], run_console: StartConsole
) -> None:
    server = new_redis()
    place(server, [{"order_id": "A-1"}])
    console = run_console(server.url, "--allow", "all")
    for path in PAGES:
        assert console.get(path).status == 200
    server.kill()

    for path in PAGES:
        told = eventually_shown(console, path, "Redis at")
        assert "Out of date. This is how things stood at" in told
        assert console.get(path).status == 200
        assert "Traceback" not in told
    assert console.get("/orders/never-seen").status == 503
    assert console.get("/letters/orders/1").status == 503
    assert console.get("/acts/pause?queue=orders").status == 503
    server.start()
    for path in PAGES[:-1]:
        eventually(
            lambda path=path: "Out of date" not in console.get(path).shown,  # type: ignore[misc]
            what=f"{path} is new again",
        )
    assert "Traceback" not in console.output


def test_silent_redis_is_waited_for_once_and_nothing_is_done_meanwhile(
    new_redis: Callable[..., RedisServer], run_console: StartConsole
) -> None:
    server = new_redis()
    console = run_console(server.url, "--allow", "all")
    for path in PAGES:
        assert console.get(path).status in (200, 404)
    form = console.get("/acts/pause?queue=orders").hidden
    server.pause()
    for path in PAGES:
        told = eventually_shown(console, path, "Out of date")
        assert "Redis gave no answer within 3 s" in told
    assert console.post("/acts/pause", form).status == 503
    assert console.get("/acts/hold?order_id=A-1").status == 503
    assert console.get("/letters/orders/1").status == 503
    server.resume()
    eventually(lambda: "Out of date" not in console.get("/").shown, what="it is new again")
    assert audit(server) == []


def test_queues_of_a_cluster_are_shown_and_acted_on(
    tmp_path: Path, run_worker: StartWorker, run_console: StartConsole, calls: Calls
) -> None:
    with cluster(tmp_path / "c") as group:
        run_worker(group.url, SHOP, env=calls.env).wait_until_ready()
        with group.client() as client:
            client.lpush(
                "orders",
                b'{"order_id": "W-1", "waits": true}',
                b'{"order_id": "R-1", "sku": "M1"}',
            )
        console = run_console(group.url, "--queue", "orders,returns", "--allow", "all")
        eventually_shown(console, "/orders/R-1", "no such SKU M1")
        eventually_shown(console, "/workers", "W-1")
        eventually_shown(console, "/dead", "no such SKU #")
        assert "Done" in console.act("/acts/cancel?order_id=W-1", "by phone").shown
        eventually_shown(console, "/orders/W-1", "It is cancelled")
        assert "retried 1 dead letter" in console.act("/acts/retry?queue=orders&number=1").shown
        assert "returns is paused" in console.act("/acts/pause?queue=returns").shown
        eventually_shown(console, "/audit", "by phone")


def test_console_starts_without_redis(run_console: StartConsole, redis_7: RedisServer) -> None:
    console = run_console("redis://127.0.0.1:1/0")
    for path in PAGES:
        answer = console.get(path)
        assert (answer.status, "Nothing is known yet." in answer.shown) == (503, True)
    assert console.terminate() == 0


def test_port_that_is_taken_is_one_line(redis_7: RedisServer, run_console: StartConsole) -> None:
    port = str(run_console(redis_7.url).port)
    done = run_cli("console", "--port", port, "--redis-url", redis_7.url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"fulfillment-worker: the console's port {port} can't be bound:")
    assert len(done.stderr.splitlines()) == 1
