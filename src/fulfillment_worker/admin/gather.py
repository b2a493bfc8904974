"""Gathers what can be known about Redis, for `doctor`; admin/rules/diagnosis.py judges it.

It writes only the scratch key, as each worker does when it connects. Every question has a
time-out, and a question that isn't answered leaves its facts unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import shlex
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from fulfillment_worker.admin.redis_client import connect, open_client, telling
from fulfillment_worker.admin.rules.facts import Misplaced, RedisFacts, Server
from fulfillment_worker.config.redis_url import RedisUrl, Scheme
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.core.text import text_of
from fulfillment_worker.embedded.reachable import reachable
from fulfillment_worker.queue import keys, library
from fulfillment_worker.queue.login import NAME
from fulfillment_worker.queue.redis_errors import code_of, explain
from fulfillment_worker.queue.redis_queue import QueuePolicy, RedisQueue

_PATIENCE = 2.5
"""Seconds to find the host."""
_TO_CONNECT = 10.0
"""Seconds to reach the server; some ways take a dozen answers, and a silent one is told sooner."""
_TO_ANSWER = 5.0
"""Seconds for what is asked then. All questions are put at the same time."""

_Info = dict[str, Any]
_T = TypeVar("_T")

_FAULTS = (RedisError, OSError, TimeoutError)
_PREFLIGHT = library.read("preflight")
_TYPES: dict[Callable[[str], str], str] = {
    keys.public: "list",
    keys.events: "stream",
    keys.woken: "list",
    keys.retry: "zset",
    keys.scheduled: "zset",
    keys.set_aside: "hash",
    keys.held: "hash",
    keys.suspects: "list",
    keys.leases: "zset",
    keys.workers: "zset",
    keys.dead: "hash",
    keys.books: "hash",
    keys.arrivals: "zset",
}


async def gather(url: RedisUrl, queues: Iterable[str], policy: QueuePolicy) -> RedisFacts:
    """The facts about Redis and these queues. Raises nothing, and takes 18 s at most."""
    known = RedisFacts(
        scheme=str(url.scheme), remote=_remote(url), unverified=_unverified(url), cli=_cli(url)
    )
    try:
        _resolve(url)
        async with reachable(url) as address:
            return await _question(known, address, url, queues, policy)
    except (*_FAULTS, QueueUnavailable) as error:
        why = str(error) if isinstance(error, QueueUnavailable) else explain(error, url)
        return _unreachable(known, why)


async def _question(
    known: RedisFacts, address: RedisUrl, url: RedisUrl, queues: Iterable[str], policy: QueuePolicy
) -> RedisFacts:
    client = open_client(address)
    try:
        async with asyncio.timeout(_TO_CONNECT):
            await connect(client)
        return await _Questions(client, address, url, policy).ask(known, list(queues))
    except Exception as error:  # noqa: BLE001 - a cluster's client raises more than it says
        why = await telling(error, address)
        return _unreachable(known, explain(why, url), denied=_is_denial(why))
    finally:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1.0):
                await client.aclose()


def _is_denial(error: BaseException) -> bool:
    return isinstance(error, AuthenticationError) or code_of(error) in ("NOAUTH", "WRONGPASS")


def _unreachable(known: RedisFacts, why: str, *, denied: bool = False) -> RedisFacts:
    return msgspec.structs.replace(known, unreachable=why, denied=denied)


class _Questions:
    """All questions to a server that answers, put at the same time."""

    def __init__(self, client: Any, address: RedisUrl, url: RedisUrl, policy: QueuePolicy) -> None:
        self._client = client
        self._address = address
        self._url = url
        self._policy = policy
        self._unseen: set[str] = set()

    async def ask(self, known: RedisFacts, queues: list[str]) -> RedisFacts:
        """`known`, and everything that the server tells."""
        rights = _Rights(self._client, self._address, self._url, self._policy)
        servers, misplaced, skew, *_ = await asyncio.gather(
            _in_time(self._servers(), ()),
            _in_time(self._misplaced(queues), ()),
            _in_time(self._skew(), None),
            _in_time(self._told("CLIENT SETNAME", NAME), {}),
            rights.try_all(queues),
        )
        return msgspec.structs.replace(
            known,
            servers=servers,
            misplaced=misplaced,
            skew=skew,
            unseen=tuple(sorted(self._unseen)),
            lacking=tuple(dict.fromkeys(rights.lacking)),
            missing=tuple(dict.fromkeys(rights.missing)),
            keys_denied=rights.keys_denied,
            refused=rights.refused,
        )

    async def _servers(self) -> tuple[Server, ...]:
        if not self._address.scheme.cluster:
            at = f"Redis at {self._url.redacted}"
            return (await self._server(at, _cli(self._address), {}),)
        nodes = self._client.get_primaries()
        told = (
            self._server(
                f"Redis at {node.name}",
                f"redis-cli -h {shlex.quote(str(node.host))} -p {node.port}",
                {"target_nodes": node},
            )
            for node in nodes
        )
        return tuple(await asyncio.gather(*told))

    async def _server(self, at: str, cli: str, node: _Info) -> Server:
        info = await self._told("INFO", **node)
        # All of them, since older servers give one name only in one answer.
        settings = await self._told("CONFIG GET", "*", **node)
        covered = True
        if info.get("cluster_enabled") == 1:
            state = await self._told("CLUSTER INFO", **node)
            covered = state.get("cluster_state", "ok") == "ok"
        return _read_server(at, cli, info, settings, covered)

    async def _told(self, command: str, *args: str, **node: Any) -> _Info:
        try:
            reply = await self._client.execute_command(command, *args, **node)
        except ResponseError:  # not permitted, or renamed away by who runs the server
            self._unseen.add(command.partition(" ")[0])
            return {}
        if not isinstance(reply, dict):
            return {}
        return {text_of(name): _plain(value) for name, value in reply.items()}

    async def _misplaced(self, queues: list[str]) -> tuple[Misplaced, ...]:
        found = []
        for queue in queues:
            names = [key(queue) for key in _TYPES]
            replies = await _all(self._client, [("TYPE", name) for name in names])
            for name, wanted, reply in zip(names, _TYPES.values(), replies, strict=True):
                real = "none" if isinstance(reply, Exception) else text_of(reply)
                if real not in (wanted, "none"):
                    aside = shlex.quote(f"{{{queue}}}:misplaced:{wanted}")
                    found.append(Misplaced(shlex.quote(name), real, wanted, aside))
        return tuple(found)

    async def _skew(self) -> float:
        """How far this host's clock is ahead, as of the middle of the question."""
        before = time.time()
        seconds, micros = await self._client.execute_command("TIME")
        return (before + time.time()) / 2 - (int(seconds) + int(micros) / 1_000_000)


class _Rights:
    """Tries what a worker tries when it connects; where that is refused, command by command."""

    def __init__(self, client: Any, address: RedisUrl, url: RedisUrl, policy: QueuePolicy) -> None:
        self._client = client
        self._address = address
        self._url = url
        self._policy = policy
        self.lacking: list[str] = []
        self.missing: list[str] = []
        self.keys_denied = ""
        self.refused = ""

    async def try_all(self, queues: list[str]) -> None:
        """Fill in what the user lacks. Raises nothing."""
        try:
            async with asyncio.timeout(_TO_ANSWER):
                for queue in queues:
                    await self._try(queue)
        except Exception as error:  # noqa: BLE001 - a cluster's client raises more than it says
            self.refused = self.refused or explain(error, self._url)

    async def _try(self, queue: str) -> None:
        worker = RedisQueue(queue, self._address, self._policy, lambda _: None)
        replies = await _all(self._client, worker.rights())
        if library.is_missing(replies[0]):
            replies = [await self._load(), *await _all(self._client, worker.rights())]
        refused = _first_error(replies)
        if refused is not None:
            await self._try_each(queue)
            if not (self.lacking or self.missing or self.keys_denied):
                self.refused = explain(refused, self._url)

    async def _load(self) -> Any:
        try:
            return await self._client.execute_command(
                "FUNCTION LOAD", "REPLACE", library.LIBRARY.text
            )
        except ResponseError as error:
            if code_of(error) == "NOPERM":
                self.lacking.append("FUNCTION|LOAD")
            return error

    async def _try_each(self, queue: str) -> None:
        remove, *others = _commands(queue)
        (reply,) = await _all(self._client, [remove])
        if isinstance(reply, Exception):
            self._note(remove[0], queue, reply)
            return  # What is tried out could not be removed again.
        for (command, *_), reply in zip(others, await _all(self._client, others), strict=True):
            if isinstance(reply, Exception):
                self._note(command, queue, reply)

    def _note(self, command: str, queue: str, error: Exception) -> None:
        code = code_of(error)
        if code == "UNKNOWN":
            self.missing.append(command)
        elif code == "NOPERM":
            # "… to access one of the keys …" (7.0), "… to access a key" (later).
            if re.search(r"\baccess\b|\bkeys?\b", str(error), re.I):
                self.keys_denied = queue
            else:
                self.lacking.append(command)


async def _all(client: Any, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """The replies to all, sent at once; errors among them. Their keys are of one queue."""
    pipe = client.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(*command)
    return list(await pipe.execute(raise_on_error=False))


def _first_error(replies: Iterable[Any]) -> Exception | None:
    return next((reply for reply in replies if isinstance(reply, Exception)), None)


def _commands(queue: str) -> list[list[str]]:
    """The commands that functions use (preflight.lua), one by one, and those around them."""
    scratch = keys.scratch(queue)
    words = {"SCRATCH": scratch, "OTHER": f"{scratch}:other"}
    called = re.findall(r"^  call\('([A-Z]+)'(?:, (.+))?\)$", _PREFLIGHT, re.MULTILINE)
    used = [
        [name, *(words.get(arg, arg.strip("'")) for arg in args.split(", "))]
        for name, args in called
    ]
    every = [key(queue) for key in _TYPES]
    return [
        *used,
        ["TIME"],
        # Whether it may be called, and with these keys, is asked before whether it is there.
        ["FCALL", "none", str(len(every)), *every],
        ["LPUSH", scratch, "x"],
        ["BLMOVE", scratch, scratch, "RIGHT", "LEFT", "0.2"],
        ["DEL", scratch],
    ]


async def _in_time(question: Awaitable[_T], otherwise: _T) -> _T:
    try:
        async with asyncio.timeout(_TO_ANSWER):
            return await question
    except _FAULTS:
        return otherwise


def _read_server(at: str, cli: str, info: _Info, settings: _Info, covered: bool) -> Server:
    limit = info.get("maxmemory")
    return Server(
        at=at,
        cli=cli,
        version=_maybe(str, info.get("redis_version")),
        policy=info.get("maxmemory_policy"),
        appendonly=_maybe(bool, info.get("aof_enabled")),
        save=settings.get("save"),
        appendfsync=settings.get("appendfsync"),
        aof_written=_is(info.get("aof_last_write_status"), "ok"),
        rdb_written=_is(info.get("rdb_last_bgsave_status"), "ok"),
        stops_writes=_is(settings.get("stop-writes-on-bgsave-error"), "yes"),
        used=info.get("used_memory"),
        limit=limit or None,
        role=info.get("role"),
        primary=f"{info.get('master_host')}:{info.get('master_port')}",
        replicas=int(info.get("connected_slaves", 0)),
        min_replicas=_maybe(int, settings.get("min-replicas-to-write")),
        timeout=_maybe(int, settings.get("timeout")),
        clustered=_maybe(bool, info.get("cluster_enabled")),
        slots_covered=covered,
    )


def _maybe(kind: Callable[[Any], _T], value: Any) -> _T | None:
    return None if value is None else kind(value)


def _is(value: Any, wanted: str) -> bool | None:
    return None if value is None else value == wanted


def _plain(value: Any) -> Any:
    return text_of(value) if isinstance(value, bytes) else value


def _cli(url: RedisUrl) -> str:
    """How to reach the server by hand; without the login, which is nobody's to see."""
    if url.scheme in (Scheme.UNIX, Scheme.EMBEDDED):
        return f"redis-cli -s {shlex.quote(url.path)}"
    tls = " --tls" if url.scheme.tls else ""
    if url.scheme.sentinel:
        return f"redis-cli -h PRIMARY{tls}"
    host, port = url.hosts[0]
    if (host, port, url.scheme) in (("127.0.0.1", 6379, "redis"), ("localhost", 6379, "redis")):
        return "redis-cli"
    return f"redis-cli -h {host} -p {port}{tls}"


def _remote(url: RedisUrl) -> bool:
    return not all(_is_loopback(host) for host, _ in url.hosts)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unverified(url: RedisUrl) -> bool:
    options = dict(url.options)
    return (
        options.get("ssl_cert_reqs") in ("none", "optional")
        or options.get("ssl_check_hostname") == "false"
    )


def _resolve(url: RedisUrl) -> None:
    """Raise TimeoutError where a name isn't resolved in time.

    The client would go on to wait for the resolver, which nothing can stop, in a thread that the
    process has to wait for at its end. A name that is wrong is told by the client.
    """

    def look_up() -> None:
        for host, port in url.hosts:
            with contextlib.suppress(OSError):
                socket.getaddrinfo(host, port)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    if thread.is_alive():
        raise TimeoutError("the name of its host can't be resolved in time")
