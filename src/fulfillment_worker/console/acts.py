"""What people do to queues here: first what would happen, then that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from fulfillment_worker.admin.rules.causes import Cause
from fulfillment_worker.admin.withdrawals import all_done
from fulfillment_worker.console.blot import blot_line
from fulfillment_worker.console.queues import Queues, WatchedQueue, needed
from fulfillment_worker.core.decode import is_id
from fulfillment_worker.core.text import visible

LONGEST_WHY = 1000
FINAL = ("drop", "cancel")
"""What can't be undone needs a reason."""

_MEANS = {
    "retry": "Put back: due at once, with all attempts ahead. An order that was fulfilled since is "
    "not handled again.",
    "drop": "Removed for ever, bytes and all, and counted as dropped. This can't be undone.",
    "pause": "Workers finish what they hold and claim nothing more, until somebody resumes it. "
    "Orders can be placed as before.",
    "resume": "Workers claim orders again at once.",
    "hold": "It is kept from being handled until somebody releases it. An attempt that is under "
    "way is stopped; one that succeeds first is fulfilled.",
    "release": "It goes on: it is due at once, with what it has been through.",
    "cancel": "It ends, and is never handled again. An attempt that is under way is stopped; one "
    "that succeeds first is fulfilled. This can't be undone.",
}


class Refused(Exception):
    """It can't be done as it was asked for. status: HTTP's; the message is for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Plan:
    """What would happen. count: to how many. fields: what names the target, and how it was then.

    carry_out: does it, given by whom and why, and tells what came of it.
    """

    act: str
    what: str
    count: int
    back: str
    fields: dict[str, str]
    carry_out: Callable[[str, str], Awaitable[Done]]
    examples: list[str] = field(default_factory=list)

    @property
    def means(self) -> str:
        """What it does, for who hasn't done it before."""
        return _MEANS[self.act]

    @property
    def needs_reason(self) -> bool:
        return self.act in FINAL


@dataclass(frozen=True)
class Done:
    """What came of it. ok: whether all is as was asked for. count: to how many it was done."""

    ok: bool
    told: str
    count: int


def url_of_act(act: str, **target: object) -> str:
    """Where one is asked whether to do it."""
    return f"/acts/{act}?{urlencode({name: str(value) for name, value in target.items()})}"


async def plan(queues: Queues, act: str, said: Mapping[str, str]) -> Plan:
    """The plan for what was asked for. Raises Refused, QueueUnavailable."""
    if act in ("hold", "release", "cancel"):
        return await _plan_for_order(queues, act, said.get("order_id", ""))
    queue = queues.each.get(said.get("queue", ""))
    if queue is None:
        raise Refused(404, "there is no such queue here")
    if act in ("pause", "resume"):
        return await _plan_for_queue(queue, act)
    if "number" in said:
        return await _plan_for_letter(queues, queue, act, said["number"])
    return await _plan_for_group(queue, act, said.get("group", ""), said.get("until", ""))


async def _plan_for_order(queues: Queues, act: str, order_id: str) -> Plan:
    if not is_id(order_id):
        raise Refused(400, "give an order's id: 1 to 128 characters without control characters")
    queues.forget_order(order_id)
    found = needed(await queues.order(order_id)).order
    where = [found.queue] if found else list(queues.each)

    async def carry_out(by: str, why: str) -> Done:
        deeds = [await queues.each[name].withdraw(act, order_id, by=by, why=why) for name in where]
        queues.forget_order(order_id)
        told = "; ".join(dict.fromkeys(deed.told for deed in deeds))
        return Done(all_done(deeds), visible(f"{order_id}: {told}"), len(deeds))

    status = found.status if found and found.status != "unknown" else "not here yet"
    what = visible(f"{act.capitalize()} order {order_id}, which is {status}")
    return Plan(act, what, 1, f"/orders/{quote(order_id)}", {"order_id": order_id}, carry_out)


async def _plan_for_queue(queue: WatchedQueue, act: str) -> Plan:
    async def carry_out(by: str, why: str) -> Done:
        new = await queue.switch(act, by=by, why=why)
        state = "paused" if act == "pause" else "open"
        return Done(True, f"{queue.name} is {state}" + ("" if new else " already"), int(new))

    now = needed(await queue.state.get()).overview
    figures = f"{_count(len(now.workers), 'worker')}, {_count(now.waiting, 'order')} waiting"
    what = visible(f"{act.capitalize()} queue {queue.name}: {figures}")
    return Plan(act, what, 1, "/", {"queue": queue.name}, carry_out)


async def _plan_for_letter(queues: Queues, queue: WatchedQueue, act: str, text: str) -> Plan:
    number = _number(text)
    found = await queue.letter(number)
    if found is None:
        raise Refused(404, f"dead letter {number} isn't there any more")
    order_id = found.letter.order_id

    async def carry_out(by: str, why: str) -> Done:
        done = await queue.work_on_letters(act, [number], by=by, why=why, order_id=order_id)
        queues.forget_order(order_id)
        told = _past(act, done) if done else f"dead letter {number} was gone already"
        return Done(done == 1, told, done)

    of_order = f" of order {order_id}" if order_id else ""
    what = visible(f"{act.capitalize()} dead letter {number}{of_order}")
    back = f"/letters/{quote(queue.name)}/{number}"
    fields = {"queue": queue.name, "number": str(number)}
    return Plan(act, what, 1, back, fields, carry_out, [blot_line(found.letter.error)])


async def _plan_for_group(queue: WatchedQueue, act: str, name: str, until: str) -> Plan:
    """until: the last letter that somebody has seen the figure of; those that came since stay."""
    group = needed(await queue.letters.get()).group(name)
    if group is None:
        raise Refused(404, "there are no dead letters with this cause any more")
    numbers = await queue.numbers_of(Cause(group.reason, group.error))
    if until:
        numbers = [number for number in numbers if number <= _number(until)]

    async def carry_out(by: str, why: str) -> Done:
        done = await queue.work_on_letters(act, numbers, by=by, why=why)
        gone = len(numbers) - done
        also = f"; {_count(gone, 'more')} had gone meanwhile" if gone else ""
        return Done(not gone, _past(act, done) + also, done)

    fields = {"queue": queue.name, "group": name, "until": str(numbers[-1] if numbers else 0)}
    what = visible(f"{act.capitalize()} {_count(len(numbers), 'dead letter')} of {queue.name}")
    back = f"/dead/{quote(queue.name)}/{quote(name)}"
    error = [blot_line(f"{group.reason}: {group.error}")]
    return Plan(act, what, len(numbers), back, fields, carry_out, error)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 17):
        raise Refused(400, "give the number of a dead letter")
    return int(text)


def _past(act: str, many: int) -> str:
    return f"{'retried' if act == 'retry' else 'dropped'} {_count(many, 'dead letter')}"


def _count(many: int, one: str) -> str:
    return f"{many:,} {one}" if many == 1 or one == "more" else f"{many:,} {one}s"


def reason_of(said: Mapping[str, Any], act: str) -> str:
    """Why somebody does it, on one line. Raises Refused where a reason is needed."""
    why = " ".join(str(said.get("why", "")).split())
    if not why and act in FINAL:
        raise Refused(400, "give a reason: this can't be undone, and others will ask")
    if len(why) > LONGEST_WHY:
        raise Refused(400, f"give a reason of at most {LONGEST_WHY} characters")
    return why
