"""What the worker is told while it is short of something of its own."""

from __future__ import annotations

import pytest

from fulfillment_worker.core.breaker import Breaker
from fulfillment_worker.core.capacity import Capacity
from fulfillment_worker.core.events import Event, ShortageChanged
from fulfillment_worker.core.outcome import SUCCEEDED, Unattempted
from fulfillment_worker.worker import gate as module
from fulfillment_worker.worker.gate import Gate

SHORT = Unattempted("no thread")


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Scene:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.told: list[Event] = []
        self.capacity = Capacity(10)
        breaker = Breaker(None)
        self.gate = Gate(breaker, self.capacity, self.told.append)

    def look(self, now: float) -> int | None:
        self.clock.now = now
        self.gate.look()
        return self.capacity.limit


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return Scene(clock)


def test_shortage_is_told_when_it_begins_and_when_it_is_over(scene: Scene) -> None:
    scene.capacity.running = 5
    for _ in range(3):
        scene.gate.attempt_ended(SHORT)
    assert scene.look(0.5) == 5
    assert scene.told == [ShortageChanged("no thread", 5, began=True)]
    assert scene.look(60.0) is None
    assert scene.told[1:] == [ShortageChanged("no thread", None)]


def test_shortage_of_everything_lasts_until_an_attempt_has_been_made(scene: Scene) -> None:
    scene.gate.attempt_ended(SHORT)
    assert scene.look(1.0) == 1  # one may be tried,
    scene.gate.attempt_ended(SHORT)  # and can't
    assert scene.look(3.0) == 1
    assert scene.told == [ShortageChanged("no thread", 0, began=True)]
    scene.gate.attempt_ended(SUCCEEDED)
    assert scene.told[1:] == [ShortageChanged("no thread", 1)]


def test_shortage_that_becomes_one_of_everything_is_told(scene: Scene) -> None:
    scene.capacity.running = 5
    scene.gate.attempt_ended(SHORT)
    scene.capacity.running = 0
    scene.gate.attempt_ended(SHORT)
    assert scene.told[1:] == [ShortageChanged("no thread", 0)]
