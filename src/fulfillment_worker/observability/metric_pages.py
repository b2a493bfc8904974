"""Pages of metrics, rendered on demand, within a bounded share of one core.

All requests for the same page that wait at the same moment share one rendering, and after each
rendering there is a pause in proportion to the time that it took. So a crowd of scrapes costs
the orders little. Nothing is kept after it was sent: a page is never older than its request, as
one from a cache would be.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from collections.abc import Callable
from typing import Protocol, cast
from urllib.parse import parse_qs

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics

# Pauses of four times the work leave at most a fifth of a core to rendering.
_PAUSE_PER_WORK = 4.0
# Half of the size for a quarter of the time that the default level takes.
_GZIP_LEVEL = 1
_OPENMETRICS = "application/openmetrics-text"
# From the most specific on: the first that a client names says how much it likes text.
_MEANS_TEXT = ("text/plain", "text/*", "*/*")
_SERVED = {
    _OPENMETRICS: ("", "1.0.0"),
    **dict.fromkeys(_MEANS_TEXT, ("", "0.0.4")),
}
_WEIGHT = re.compile(r"[01](\.[0-9]{0,3})?").fullmatch


class PageRequest(msgspec.Struct, frozen=True):
    """Which page: requests that are equal get the same bytes. names: of samples, empty for all."""

    openmetrics: bool
    gzip: bool
    names: frozenset[str]


class Page(msgspec.Struct, frozen=True):
    """An answer's status, content headers and body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class _Encoder(Protocol):
    def __call__(self, registry: CollectorRegistry) -> bytes: ...


def page_request(query: str, accept: str, accept_encoding: str) -> PageRequest:
    """What a scrape asks for by its URL's query and its headers. Never raises."""
    names = parse_qs(query, errors="replace").get("name[]", ())
    return PageRequest(
        openmetrics=_wants_openmetrics(accept),
        gzip=_wants_gzip(accept_encoding),
        names=frozenset(names),
    )


class Pages:
    """Renders pages on the running event loop, each once for all that wait for it."""

    def __init__(
        self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._waiting: dict[PageRequest, set[asyncio.Future[Page]]] = {}
        self._rest_until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def get(self, request: PageRequest) -> Page:
        """The page, soon. Where the caller is cancelled, nothing is rendered for it."""
        waiting = self._waiting.setdefault(request, set())
        page: asyncio.Future[Page] = asyncio.get_running_loop().create_future()
        waiting.add(page)
        self._schedule()
        try:
            return await page
        finally:
            waiting.discard(page)
            if not waiting and self._waiting.get(request) is waiting:
                del self._waiting[request]

    def _schedule(self) -> None:
        if self._timer is None and self._waiting:
            delay = max(0.0, self._rest_until - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._render_next)

    def _render_next(self) -> None:
        self._timer = None
        if self._waiting:
            started = self._clock()
            request = self._choose()
            waiting = self._waiting.pop(request)
            page = render(self._registry, request)
            ended = self._clock()
            self._rest_until = ended + _PAUSE_PER_WORK * (ended - started)
            for each in waiting:
                if not each.done():
                    each.set_result(page)
        self._schedule()

    def _choose(self) -> PageRequest:
        # Whole pages first: there are four of them, but no end of filtered ones, and Prometheus
        # must not queue behind those.
        whole = (request for request in self._waiting if not request.names)
        return next(whole, next(iter(self._waiting)))


def render(registry: CollectorRegistry, request: PageRequest) -> Page:
    """The page, or a 500 with one line where that fails. Never raises an Exception."""
    try:
        return _render(registry, request)
    except Exception as error:  # noqa: BLE001 - a scrape that fails must not end the server
        # The type alone: the text of an exception may hold anything.
        why = f"the metrics could not be rendered: {type(error).__name__}\n"
        return Page(500, (("Content-Type", "text/plain; charset=utf-8"),), why.encode())


def _render(registry: CollectorRegistry, request: PageRequest) -> Page:
    encode, content_type = _encoder(request)
    chosen = registry.restricted_registry(request.names) if request.names else registry
    body = encode(cast(CollectorRegistry, chosen))
    headers = [("Content-Type", content_type), ("Vary", "Accept, Accept-Encoding")]
    if request.gzip:
        body = gzip.compress(body, compresslevel=_GZIP_LEVEL)
        headers.append(("Content-Encoding", "gzip"))
    return Page(200, tuple(headers), body)


def _encoder(request: PageRequest) -> tuple[_Encoder, str]:
    if request.openmetrics:
        return openmetrics.generate_latest, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest, CONTENT_TYPE_PLAIN_0_0_4


def _wants_openmetrics(accept: str) -> bool:
    """Whether it is named, and liked no less than the text format (RFC 9110, 12.5.1).

    One version of each format serves every scraper, and keeps the number of different pages small.
    The client library heeds no weights, so that a scraper which prefers text wouldn't get it.
    """
    likings: dict[str, float] = {}
    for media_range in accept.split(","):
        kind, version, liking = _media_range(media_range)
        if version in _SERVED.get(kind, ()):
            likings[kind] = max(liking, likings.get(kind, 0.0))
    text = next((likings[kind] for kind in _MEANS_TEXT if kind in likings), 0.0)
    return likings.get(_OPENMETRICS, 0.0) > 0 and likings[_OPENMETRICS] >= text


def _wants_gzip(accept_encoding: str) -> bool:
    """Whether gzip is allowed, and liked no less than the plain page (RFC 9110, 12.5.3).

    Only who names gzip, or rules the plain page out, gets it by `*`. Where both are ruled out, the
    plain page is better than none.
    """
    likings: dict[str, float] = {}
    for coding in accept_encoding.split(","):
        name, _, liking = _media_range(coding)
        likings.setdefault(name.removeprefix("x-"), liking)
    rest = likings.get("*", 0.0)
    zipped, plain = likings.get("gzip", rest), likings.get("identity", rest)
    return zipped > plain or (zipped == plain > 0 and "gzip" in likings)


def _media_range(text: str) -> tuple[str, str, float]:
    """Its type, its version ("" where it names none), and its weight."""
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    told = dict(parameter.partition("=")[::2] for parameter in parameters)
    weight = told.get("q", "1")
    return kind, told.get("version", "").strip('"'), float(weight) if _WEIGHT(weight) else 1.0
