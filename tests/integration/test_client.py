"""A client of a real Redis: what it waits for, what it does after a fault, what is never lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from fulfillment_worker.config.redis_url import RedisUrl
from fulfillment_worker.core.events import CommandSent
from fulfillment_worker.core.exchange import Exchange, QueueUnavailable
from fulfillment_worker.queue import library
from fulfillment_worker.queue.client import Client, Command
from fulfillment_worker.queue.library import Function, Library
from fulfillment_worker.queue.redis_queue import QueuePolicy, RedisQueue
from tests.support.eventually import aeventually
from tests.support.redis_server import RedisServer

ECHO = Function.KNOWN
ECHOES = Library(
    "echoes",
    "#!lua name=echoes\nredis.register_function('echo', function(_, args) return args[1] end)\n",
    {ECHO: "echo"},
)
POLICY = QueuePolicy(lease=10_000, status_ttl=60_000, max_orphanings=3, id_field="order_id")


class Relay:
    """Stands between a client and Redis, and has a say in what Redis's replies become.

    holds: nothing is passed on. cuts_after: so many bytes later, the connection is closed.
    """

    def __init__(self, port: int) -> None:
        self.holds = asyncio.Event()
        self.holds.set()
        self.held = 0
        self.cuts_after: int | None = None
        self.accepted = 0
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> RedisUrl:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return RedisUrl.parse(f"redis://{host}:{port}/0")

    def say(self, unasked: bytes) -> None:
        """To who is connected now, as if Redis had."""
        self._writers[-1].write(unasked)

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [ours, writer]
        self._tasks.append(asyncio.create_task(self._ask(reader, ours)))
        self._tasks.append(asyncio.create_task(self._answer(theirs, writer)))

    async def _ask(self, reader: asyncio.StreamReader, ours: asyncio.StreamWriter) -> None:
        while said := await reader.read(65536):
            ours.write(said)
        ours.close()

    async def _answer(self, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await theirs.read(65536):
            self.held += len(said)
            await self.holds.wait()
            self.held = 0
            if self.cuts_after is not None and self.cuts_after <= len(said):
                writer.write(said[: self.cuts_after])
                self.cuts_after = None
                break
            if self.cuts_after is not None:
                self.cuts_after -= len(said)
            writer.write(said)
        writer.close()


@pytest.fixture
async def relay(redis_7: RedisServer) -> AsyncIterator[Relay]:
    made = Relay(redis_7.port)
    yield made
    await made.close()


class Bench:
    """A client, what it told, and how often it connected."""

    def __init__(self, url: RedisUrl) -> None:
        self.told: list[CommandSent] = []
        self.met = 0
        self.client = Client(url, self.told.append, first=self._meeting)

    def _meeting(self) -> list[Command]:
        self.met += 1
        return []


@pytest.fixture
async def bench(redis_7: RedisServer) -> AsyncIterator[Bench]:
    made = Bench(RedisUrl.parse(redis_7.url))
    yield made
    await made.client.close()


async def ask(client: Client, operation: str, *command: object, patience: float) -> object:
    (reply,) = await client.block(operation, *command, behind=(), patience=patience)
    return reply


async def heard_of_it(bench: Bench) -> None:
    """Return when the client knows that its connection is of no use any more."""
    await aeventually(
        lambda: bench.client._connection and bench.client._connection.broken, what="it broke"
    )


async def test_it_is_out_of_patience_and_never_takes_a_late_reply_for_another(bench: Bench) -> None:
    client = bench.client
    await ask(client, "ping", "PING", patience=5)
    with pytest.raises(QueueUnavailable, match=r"does not answer: no answer within 0.2 s"):
        await ask(client, "wait", "BLPOP", "nothing", "0.5", patience=0.2)
    assert await ask(client, "echo", "ECHO", "mine", patience=5) == b"mine"
    # What came of a command that waits is told when what it brought has been seen to.
    await aeventually(lambda: len(bench.told) == 3, what="all three are told")
    assert [event.ok for event in bench.told] == [True, False, True]
    assert bench.met == 2


async def test_a_reply_that_came_while_a_handler_blocked_the_loop_counts(bench: Bench) -> None:
    await ask(bench.client, "ping", "PING", patience=5)
    asyncio.get_running_loop().call_soon(time.sleep, 0.6)
    assert await ask(bench.client, "echo", "ECHO", "x", patience=0.2) == b"x"


async def test_what_redis_closed_while_nothing_was_said_is_no_outage(
    bench: Bench, redis_7: RedisServer
) -> None:
    """Its setting `timeout` does so to workers that are idle."""
    await ask(bench.client, "ping", "PING", patience=5)
    with redis_7.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    await heard_of_it(bench)
    assert await ask(bench.client, "echo", "ECHO", "x", patience=5) == b"x"
    assert all(event.ok for event in bench.told)
    assert bench.met == 2


async def test_what_cannot_be_sent_fails_before_the_answer_is_awaited(relay: Relay) -> None:
    bench = Bench(RedisUrl.parse("unix:///nowhere/redis.sock"))
    with pytest.raises(QueueUnavailable):
        await bench.client.send(ECHO, 0, "x", patience=1)
    assert [event.ok for event in bench.told] == [False]
    bench = Bench(await relay.start())
    answer = await bench.client.send(ECHO, 0, "x", patience=1)
    relay.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(QueueUnavailable, match="Protocol error"):
        await answer
    await bench.client.close()


async def test_function_that_redis_forgot_is_loaded_again(
    bench: Bench, redis_7: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "LIBRARY", ECHOES)
    for text in ("1", "2", "3"):
        with redis_7.client() as client:
            client.function_flush("SYNC")
        assert await bench.client.call(ECHO, 0, text, patience=5) == text.encode()
    assert bench.met == 1


async def test_what_is_sent_behind_a_command_that_waits_is_answered_after_it(
    bench: Bench, redis_7: RedisServer
) -> None:
    behind = [("ECHO", "1"), ("FCALL", "none", 0)]
    wait = bench.client.block("wait", "BLPOP", "list", 5, behind=behind, patience=6)
    waiting = asyncio.create_task(wait)
    await aeventually(lambda: bench.client.waits, what="the command waits")
    bench.client.send_behind("ECHO", "2")
    with redis_7.client() as client:
        client.lpush("list", "x")
    assert await waiting == [[b"list", b"x"], b"1", None, b"2"]
    assert not bench.client.waits
    assert await ask(bench.client, "echo", "ECHO", "mine", patience=5) == b"mine"
    assert bench.met == 1


async def test_bytes_stay_as_they_are(bench: Bench) -> None:
    raw = bytes(range(256))
    assert await ask(bench.client, "echo", "ECHO", raw, patience=5) == raw


async def test_a_reply_that_is_cut_in_the_middle(relay: Relay, redis_7: RedisServer) -> None:
    """It is larger than one read: nothing of it may be left for the next command."""
    with redis_7.client() as client:
        client.lpush("long", *["x" * 1000] * 1000)
    bench = Bench(await relay.start())
    await ask(bench.client, "ping", "PING", patience=5)
    for size in (1, 100_000, 700_000):
        relay.cuts_after = size
        with pytest.raises(QueueUnavailable):
            await ask(bench.client, "list", "LRANGE", "long", 0, -1, patience=5)
        again = await ask(bench.client, "list", "LRANGE", "long", 0, -1, patience=5)
        assert isinstance(again, list)
        assert len(again) == 1000
    await bench.client.close()


async def test_what_nobody_asked_for_answers_nothing(relay: Relay) -> None:
    bench = Bench(await relay.start())
    await ask(bench.client, "ping", "PING", patience=5)
    relay.say(b"+a reply that came too late\r\n")
    await heard_of_it(bench)
    assert await ask(bench.client, "echo", "ECHO", "mine", patience=5) == b"mine"
    await bench.client.close()


async def test_what_is_no_reply_ends_the_connection(relay: Relay) -> None:
    """And all that was said on it: nobody knows what the rest would be an answer to."""
    bench = Bench(await relay.start())
    wait = bench.client.block("wait", "BLPOP", "list", 5, behind=[("ECHO", "1")], patience=6)
    waiting = asyncio.create_task(wait)
    await aeventually(lambda: bench.client.waits, what="the command waits")
    relay.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(QueueUnavailable, match="can't be reached: Protocol error"):
        await waiting
    assert await ask(bench.client, "echo", "ECHO", "mine", patience=5) == b"mine"
    await bench.client.close()


async def test_news_that_redis_pushes_is_no_reply(relay: Relay) -> None:
    bench = Bench(await relay.start())
    wait = bench.client.block("wait", "BLPOP", "nothing", "0.2", behind=(), patience=6)
    waiting = asyncio.create_task(wait)
    await aeventually(lambda: bench.client.waits, what="the command waits")
    relay.say(b">2\r\n$4\r\nnews\r\n$1\r\nx\r\n")
    assert await waiting == [None]
    assert bench.met == 1
    await bench.client.close()


@pytest.mark.parametrize("held", [False, True], ids=["before", "after"])
async def test_an_order_that_rang_while_the_doorbell_was_taken_off(
    relay: Relay, redis_7: RedisServer, held: bool
) -> None:
    """Invariant 1: it was moved aside, nobody heard, and the next exchange finds it."""
    queue = RedisQueue("orders", await relay.start(), POLICY, lambda _: None)
    waiting = asyncio.create_task(queue.wait(10))
    with redis_7.client() as client:
        await aeventually(lambda: client.info("clients")["blocked_clients"] == 1)
        if held:
            relay.holds.clear()
        client.lpush("orders", b'{"order_id": "A"}')
        if held:
            await aeventually(lambda: relay.held > 0)
            assert client.llen("{orders}:woken") == 1
        waiting.cancel()
        await asyncio.wait({waiting})
        relay.holds.set()
        assert client.llen("orders") + client.llen("{orders}:woken") == 1
    reply = await queue.exchange(Exchange(worker="w", claim=5, survey=True))
    assert [claimed.raw for claimed in reply.claimed] == [b'{"order_id": "A"}']
    assert reply.survey is not None
    assert reply.survey.unaccounted == 0
    await queue.close()


async def test_idle_workers_of_a_server_that_closes_idle_connections(
    new_redis: Callable[..., RedisServer],
) -> None:
    """`timeout 1`: each exchange of such a worker finds its connection closed."""
    server = new_redis("redis-7", "--timeout", "1")
    told: list[CommandSent] = []
    queue = RedisQueue("orders", RedisUrl.parse(server.url), POLICY, told.append)
    await queue.exchange(Exchange(worker="w", number=1))
    with server.client() as client:
        await aeventually(lambda: len(client.client_list()) == 1)
    await queue.exchange(Exchange(worker="w", number=2))
    assert [event.ok for event in told] == [True, True]
    await queue.close()
