"""What can be looked at: each page for people, and the same as JSON for programs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request

from fulfillment_worker.console import one_order, views
from fulfillment_worker.console.access import Access
from fulfillment_worker.console.acts import Refused
from fulfillment_worker.console.queues import MOST_ACTS, Queues, WatchedQueue
from fulfillment_worker.console.views import Context
from fulfillment_worker.core.decode import is_id

MOST_SHOWN = 100
"""Letters of one cause that its page lists."""


@dataclass(frozen=True)
class Page:
    """path: of the page; the JSON is at the same one below /api. says: what it tells.

    read: makes its context; raises Refused, QueueUnavailable. live: seconds between two looks of a
    browser that has it open, 0 for one look.
    """

    path: str
    template: str
    says: str
    read: Callable[[Pages, Request], Awaitable[Context]]
    live: float = 0

    @property
    def api_path(self) -> str:
        return "/api/overview" if self.path == "/" else f"/api{self.path}"


class Pages:
    """Reads what pages show."""

    def __init__(self, queues: Queues, access: Access, id_field: str) -> None:
        self.queues = queues
        self._access = access
        self._id_field = id_field

    async def overview(self, _: Request) -> Context:
        letters = {name: await each.letters.get() for name, each in self.queues.each.items()}
        return views.overview(await self.queues.states(), letters)

    async def dead(self, _: Request) -> Context:
        return views.dead({n: await each.letters.get() for n, each in self.queues.each.items()})

    async def group(self, request: Request) -> Context:
        queue = self._queue(request)
        seen = await queue.letters.get()
        name = request.path_params["group"]
        group = seen.value.group(name) if seen.value else None
        if group is None:
            raise Refused(404, "There are no dead letters with this cause, or not any more.")
        return views.group(seen, group, MOST_SHOWN)

    async def letter(self, request: Request) -> Context:
        queue, number = self._queue(request), request.path_params["number"]
        found = await queue.letter(number)
        if found is None:
            raise Refused(404, f"Dead letter {number} isn't there: it was retried or dropped.")
        letters = (await queue.letters.get()).value
        cause = found.letter.cause
        named = [
            each.group
            for each in (letters.groups if letters else [])
            if (each.reason, each.error) == (cause.reason, cause.error)
        ]
        return views.letter(found, named[0] if named else "", self._id_field)

    async def workers(self, _: Request) -> Context:
        held = {name: await each.running.get() for name, each in self.queues.each.items()}
        return views.workers(await self.queues.states(), held)

    async def audit(self, _: Request) -> Context:
        acts = {name: await each.acts.get() for name, each in self.queues.each.items()}
        return views.acts(acts, MOST_ACTS)

    async def order(self, request: Request) -> Context:
        order_id = request.path_params["order_id"]
        if not is_id(order_id):
            raise Refused(400, "An order's id has 1 to 128 characters, and no control characters.")
        seen = await self.queues.order(order_id)
        found = seen.value.order if seen.value else None
        asked = [self.queues.each[found.queue]] if found else list(self.queues.each.values())
        state = (await asked[0].state.get()).value if found else None
        acts = [act for queue in asked for act in (await queue.acts.get()).value or []]
        standing = state.standing if state else None
        return one_order.order(order_id, seen, standing, acts, self._access.may)

    def _queue(self, request: Request) -> WatchedQueue:
        queue = self.queues.each.get(request.path_params["queue"])
        if queue is None:
            raise Refused(404, "This console doesn't show that queue: see its --queue.")
        return queue


PAGES = (
    Page("/", "overview.html", "How each queue stands.", Pages.overview, live=2),
    Page("/dead", "dead.html", "Dead letters, grouped by cause.", Pages.dead, live=5),
    Page("/dead/{queue}/{group}", "group.html", "Dead letters with one cause.", Pages.group),
    Page("/letters/{queue}/{number:int}", "letter.html", "One dead letter.", Pages.letter),
    Page("/workers", "workers.html", "Who works on what, and for how long.", Pages.workers, live=2),
    Page("/audit", "audit.html", "What operators did, the newest first.", Pages.audit, live=5),
    Page("/orders/{order_id:path}", "order.html", "Where an order is, and why.", Pages.order, 2),
)
