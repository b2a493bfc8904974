"""Room shared among queues: preference without starving."""

from __future__ import annotations

from fulfillment_worker.core.slots import Slots


def test_one_queue_takes_all_the_room() -> None:
    slots = Slots(10, 1)
    assert slots.grant(0, 500) == 10
    slots.occupy(0, 10)
    assert slots.grant(0, 500) == 0
    slots.occupy(0, 7)
    assert slots.grant(0, 2) == 2


def test_more_may_be_held_than_there_is_room_for() -> None:
    slots = Slots(2, 1)
    slots.occupy(0, 5)
    assert slots.free == 0
    assert slots.allowed(0) == 0


def test_some_are_held_ready_beyond_the_slots() -> None:
    slots = Slots(10, 2)
    slots.hold_ready(1, 3)
    slots.occupy(1, 10)
    assert slots.allowed(1) == 3
    slots.occupy(1, 13)
    assert slots.allowed(1) == 0


def test_room_to_hold_orders_ready_is_for_those_of_that_queue() -> None:
    slots = Slots(10, 2)
    slots.hold_ready(0, 3)
    slots.occupy(1, 8)
    assert (slots.allowed(0), slots.allowed(1)) == (5, 2)
    slots.occupy(1, 10)
    assert (slots.allowed(0), slots.allowed(1)) == (3, 0)


def test_what_others_hold_ready_takes_no_slot_from_a_queue() -> None:
    slots = Slots(10, 2)
    slots.hold_ready(1, 5)
    slots.occupy(1, 14)
    assert slots.allowed(0) == 1


def test_who_waits_behind_ready_orders_is_not_starved_by_them() -> None:
    slots = Slots(10, 2)
    slots.hold_ready(0, 5)
    slots.waits(0, True)
    slots.waits(1, True)
    slots.occupy(0, 10)
    slots.grant(0, 5)
    slots.grant(0, 5)
    assert slots.allowed(1) == 1


def test_none_are_held_ready_while_the_capacity_is_lowered() -> None:
    slots = Slots(10, 1)
    slots.hold_ready(0, 3)
    slots.limit = 1
    assert slots.allowed(0) == 1


def served(capacity: int, turns: int, waiting: tuple[bool, ...]) -> list[int]:
    """Orders granted to each queue when each turn frees all the room again."""
    slots = Slots(capacity, len(waiting))
    granted = [0] * len(waiting)
    for queue, waits in enumerate(waiting):
        slots.waits(queue, waits)
    for _ in range(turns):
        for queue, waits in enumerate(waiting):
            if waits:
                got = slots.grant(queue, 500)
                granted[queue] += got
                slots.occupy(queue, got)
        for queue in range(len(waiting)):
            slots.occupy(queue, 0)
    return granted


def test_a_preferred_queue_gets_most_and_starves_nobody() -> None:
    first, second, third = served(10, 1000, (True, True, True))
    assert first > 0.7 * (first + second + third)
    assert first > second > third
    assert third >= 300


def test_preference_holds_for_all_ranks_without_starving_any() -> None:
    granted = served(50, 4000, (True,) * 20)
    assert granted == sorted(granted, reverse=True)
    assert granted[-1] > 0
    assert granted[0] > sum(granted) / 2


def test_the_share_of_a_queue_does_not_depend_on_idle_ones_between() -> None:
    assert served(1, 1100, (True, *[False] * 400, True))[-1] == 100


def test_free_room_is_for_the_first_that_waits_and_those_that_are_owed_some() -> None:
    slots = Slots(10, 500)
    assert list(slots.next()) == []
    for queue in (7, 300, 499):
        slots.waits(queue, True)
    assert list(slots.next()) == [7]
    slots.grant(7, 10)
    assert list(slots.next()) == [300, 7]
    slots.occupy(7, 9)
    assert list(slots.next()) == [300]
    slots.occupy(7, 10)
    assert list(slots.next()) == []


def test_nobody_starves_where_there_is_room_for_one_order_alone() -> None:
    first, second = served(1, 1100, (True, True))
    assert (first, second) == (1000, 100)


def test_room_is_not_kept_for_a_queue_that_does_not_wait() -> None:
    assert served(10, 10, (True, False)) == [100, 0]
    assert served(10, 10, (False, True)) == [0, 100]


def test_a_queue_that_stops_waiting_loses_its_credit() -> None:
    slots = Slots(10, 2)
    slots.waits(1, True)
    for _ in range(5):
        slots.grant(0, 10)
    slots.waits(1, False)
    assert slots.allowed(0) == 10
