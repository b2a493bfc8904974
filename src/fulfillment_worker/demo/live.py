"""The demo on a terminal: a view that is drawn anew several times a second."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fulfillment_worker.admin.inspector import Inspector, Overview
from fulfillment_worker.core.exchange import QueueUnavailable
from fulfillment_worker.core.text import visible
from fulfillment_worker.demo.pace import Pace, percentile
from fulfillment_worker.demo.places import Places, lines_of
from fulfillment_worker.demo.tally import DemoEvent, DemoSeverity, Tally
from fulfillment_worker.demo.view import FAREWELL, INVITATION, TITLE, silence

_FRAME = 0.2
_LOOK = 0.5
"""Seconds between two looks at the queue."""
_WIDEST = 110
_MOST_EVENTS = 10
_SIGNS = {
    DemoSeverity.GOOD: ("✓", "green"),
    DemoSeverity.AGAIN: ("↻", "yellow"),
    DemoSeverity.BAD: ("✗", "red"),
    DemoSeverity.TROUBLE: ("!", "bold magenta"),
}


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What the figures are besides the tally's. overview: None while Redis is away."""

    overview: Overview | None
    per_second: float
    seconds: float
    state: str


class LiveView:
    """Draws the demo in place. on_lost: is called when the terminal is gone."""

    def __init__(self, console: Console, on_lost: Callable[[], None]) -> None:
        self._console = console
        self._on_lost = on_lost
        self._demo_events: deque[tuple[str, DemoEvent]] = deque(maxlen=_MOST_EVENTS)
        self._overview: Overview | None = None
        self._pace = Pace()
        self._state = "running"
        self._began = time.monotonic()

    @asynccontextmanager
    async def showing(
        self, places: Places, tally: Tally, inspector: Inspector
    ) -> AsyncIterator[None]:
        """See View."""
        over = asyncio.Event()
        tasks = [
            asyncio.create_task(self._look(inspector, over)),
            asyncio.create_task(self._draw(places, tally, over)),
        ]
        try:
            yield
        finally:
            over.set()
            await asyncio.gather(*tasks)

    def happened(self, demo_event: DemoEvent) -> None:
        """See View."""
        self._demo_events.append((datetime.now().astimezone().strftime("%H:%M:%S"), demo_event))

    def draining(self) -> None:
        """See View."""
        self._state = "ending: orders that run may finish"

    def summary(self, lines: list[str]) -> None:
        """See View."""
        *above, verdict = lines
        style = "bold red" if verdict.endswith("not balanced") else "bold green"
        try:
            for line in above:
                self._console.print(Text(line))
            self._console.print(Text(verdict, style))
        except OSError:
            silence()

    async def _look(self, inspector: Inspector, over: asyncio.Event) -> None:
        while not over.is_set():
            try:
                self._overview = await inspector.overview()
            except QueueUnavailable:
                self._overview = None
            await _within(_LOOK, over)

    async def _draw(self, places: Places, tally: Tally, over: asyncio.Event) -> None:
        try:
            with Live(console=self._console, auto_refresh=False, transient=True) as live:
                while not over.is_set():
                    if not self._console.is_terminal:
                        # Rich would print nothing then, and nobody would notice.
                        raise OSError("the terminal was closed")
                    live.update(self._picture(places, tally))
                    # In a thread: a terminal that is held (Ctrl-S) must not hold the worker.
                    await asyncio.to_thread(live.refresh)
                    await _within(_FRAME, over)
        except OSError:
            silence()
            self._on_lost()

    def _picture(self, places: Places, tally: Tally) -> RenderableType:
        now = time.monotonic()
        self._pace.note(now, tally.ended)
        moment = Moment(
            overview=self._overview,
            per_second=self._pace.per_second,
            seconds=now - self._began,
            state=self._state,
        )
        width, height = self._console.size
        return picture(places, tally, moment, list(self._demo_events), width, height)


async def _within(seconds: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def picture(
    places: Places,
    tally: Tally,
    moment: Moment,
    demo_events: list[tuple[str, DemoEvent]],
    width: int,
    height: int,
) -> RenderableType:
    """The whole view, for a terminal of so many columns and rows."""
    # Less than there is, or the echo of a Ctrl-C at the very end would add a line.
    width = min(width, _WIDEST) - 3
    above = [
        *_title(moment, width),
        *_places(places, width),
        Text(),
        _counters(tally, moment.overview),
        Text(),
        _speed(tally, moment),
        *_progress(tally, width),
        Text(),
    ]
    # The counters are two lines, and one is kept free, where the cursor stands.
    room = min(_MOST_EVENTS, max(1, height - len(above) - 2))
    shown = [_line(at, demo_event, width) for at, demo_event in demo_events[-room:]]
    return Group(*above, *shown)


def _title(moment: Moment, width: int) -> list[Text]:
    left, right = f" {TITLE}", f"{moment.state}, {moment.seconds:.0f} s   {FAREWELL} "
    gap = " " * max(2, width - len(left) - len(right))
    return [Text.assemble((left, "bold"), gap, (right, "dim")), Text()]


def _places(places: Places, width: int) -> list[Text]:
    named = [Text.assemble(f" {name:<9}", (place, "cyan")) for name, place in places.named]
    commands = [
        Text(f"   {line}", "cyan")
        for command in places.commands
        for line in lines_of(command, width - 3)
    ]
    return [*(_unwrapped(line) for line in named), Text(), Text(f" {INVITATION}"), *commands]


def _counters(tally: Tally, overview: Overview | None) -> Table:
    figures = {
        "placed": (f"{tally.placed}", "bold"),
        "waiting": (_depth(overview, "waiting"), "bold"),
        "in flight": (_depth(overview, "in_flight"), "bold"),
        "retrying": (_depth(overview, "retrying"), "bold"),
        "fulfilled": (f"{tally.fulfilled}", "bold green"),
        "retried": (f"{tally.retried}", "bold yellow"),
        "rejected": (f"{tally.rejected + tally.exhausted + tally.orphaned}", "bold red"),
        "rubbish": (f"{tally.invalid}", "bold red"),
    }
    table = Table.grid(padding=(0, 1, 0, 0), pad_edge=False)
    for _ in figures:
        table.add_column(justify="right", no_wrap=True)
    table.add_row(*(Text(f" {name}", "dim") for name in figures))
    table.add_row(*(Text(*figure) for figure in figures.values()))
    return table


def _depth(overview: Overview | None, name: str) -> str:
    return "?" if overview is None else str(getattr(overview, name))


def _speed(tally: Tally, moment: Moment) -> Text:
    p50, p99 = (percentile(tally.durations, share) for share in (0.5, 0.99))
    return Text.assemble(
        (f" {moment.per_second:.1f}", "bold"),
        " orders/s    processing: p50 ",
        (_ms(p50), "bold"),
        ", p99 ",
        (_ms(p99), "bold"),
    )


def _progress(tally: Tally, width: int) -> list[RenderableType]:
    if tally.orders is None:
        return []
    row = Table.grid(padding=(0, 1))
    ended = min(tally.ended, tally.orders)
    bar = ProgressBar(total=tally.orders, completed=ended, width=max(10, min(50, width - 30)))
    row.add_row("", bar, f"{ended} of {tally.orders} ended")
    return [row]


def _line(at: str, demo_event: DemoEvent, width: int) -> Text:
    sign, style = _SIGNS[demo_event.severity]
    text = Text.assemble((f" {at} ", "dim"), (sign, style), f" {visible(demo_event.text)}")
    text.truncate(width, overflow="ellipsis")
    return _unwrapped(text)


def _unwrapped(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"
