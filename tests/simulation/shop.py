"""The shop's handler, as bad as any: it waits, fails, hangs, blocks, or ends its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

from fulfillment_worker.core.order import Order, Reject, Retry
from fulfillment_worker.core.outcome import INTERRUPTED, Failed, FailureReason, Stopped
from fulfillment_worker.handlers.function import AsyncFunction
from tests.simulation.dice import Dice, Faults
from tests.simulation.history import History

_trace: ContextVar[str] = ContextVar("trace", default="")

_GOOD = ("at once", "at once", "soon", "soon", "late")
_BAD = (
    *("error", "error", "retry", "reject", "hang", "block", "stubborn", "traces", "cancels itself"),
    *("exits", "dies", "blocks for long"),
)


class Process(Protocol):
    """Where a handler runs. name: of the process."""

    name: str

    def block(self, seconds: float) -> None:
        """Let nothing else run in it for so long."""
        ...

    def end(self) -> None:
        """End it."""
        ...

    def failed(self, context: dict[str, Any]) -> None:
        """Something is wrong with the worker."""
        ...


class Shop:
    """Makes handlers. calls: how often each order was handled."""

    def __init__(self, dice: Dice, faults: Faults, history: History, lease: float) -> None:
        self._dice = dice
        self._faults = faults
        self._history = history
        self._lease = lease
        self.calls: dict[str, int] = {}
        self._kinds = {kind: dice.roll(f"shop has {kind}") < 0.5 for kind in _BAD}

    def handler(self, process: Process, is_alive: Callable[[], bool]) -> AsyncFunction:
        """What a worker in this process calls. is_alive: whether the process has not ended."""

        async def fulfil(order: Order) -> None:
            call = self.calls[order.id] = self.calls.get(order.id, 0) + 1
            kind = self._kind(f"{order.id}:{call}")
            told = {"queue": order.queue, "order": order.id, "attempt": order.attempt, "call": call}
            self._history.add("started", **told, worker=process.name, does=kind)
            how = "success"
            try:
                if _trace.get():
                    process.failed({"message": f"{order.id} finds what {_trace.get()} has left"})
                await self._behave(kind, f"{order.id}:{call}", process)
            except BaseException as error:
                how = _how(error)
                raise
            finally:
                if is_alive():
                    self._history.add("ended", **told, worker=process.name, how=how)

        return AsyncFunction(fulfil, "shop")

    def _kind(self, call: str) -> str:
        bad = self._dice.pick(_BAD, f"{call}:bad")
        if self._kinds[bad] and self._faults.happens(f"shop:{call}:{bad}", 0.25):
            return bad
        return self._dice.pick(_GOOD, f"{call}:good")

    async def _behave(self, kind: str, call: str, process: Process) -> None:  # noqa: C901, PLR0912
        dice = self._dice
        match kind:
            case "soon":
                await asyncio.sleep(dice.skewed(0.001, 0.05, f"{call}:soon"))
            case "late":
                await asyncio.sleep(dice.skewed(0.05, 0.8, f"{call}:late"))
            case "error":
                await asyncio.sleep(dice.between(0, 0.05, f"{call}:error"))
                raise ValueError("the shop is closed")
            case "retry":
                raise Retry("not now", after=dice.between(0, 1, f"{call}:after"))
            case "reject":
                raise Reject("never")
            case "hang":
                await asyncio.get_running_loop().create_future()
            case "block":
                process.block(dice.skewed(0.02, 0.9 * self._lease, f"{call}:block"))
            case "blocks for long":
                process.block(dice.between(0.9, 2, f"{call}:block") * self._lease)
            case "stubborn":
                await self._resist(dice.between(0.1, 8, f"{call}:resists"))
            case "traces":
                _trace.set(call)
                asyncio.get_running_loop().call_later(0.01, lambda: None)
            case "cancels itself":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                if dice.roll(f"{call}:at once") < 0.5:
                    await asyncio.sleep(0)
            case "exits":
                raise SystemExit(3)
            case "dies":
                await asyncio.sleep(dice.between(0, 0.1, f"{call}:dies"))
                process.end()
                await asyncio.get_running_loop().create_future()

    async def _resist(self, seconds: float) -> None:
        """Wait so long, whatever it is told."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while (left := ends - loop.time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                continue


def _how(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        why = error.args[0] if error.args else None
        if why is INTERRUPTED or isinstance(why, Stopped):
            return "interrupted"
        if isinstance(why, Failed):
            return "timeout" if why.reason is FailureReason.TIMEOUT else "given_up"
        return "error"
    if isinstance(error, Reject):
        return "rejected"
    return "retry" if isinstance(error, Retry) else "error"
