"""How many orders may be claimed and started: preference without starving."""

from __future__ import annotations

from fulfillment_worker.core.capacity import Capacity


def test_one_queue_takes_all_the_room() -> None:
    capacity = Capacity(10)
    assert capacity.reserve(0, 500) == 10
    assert capacity.reserve(0, 500) == 0
    capacity.unreserve(0, 3)
    assert capacity.reserve(0, 2) == 2


def test_more_may_be_held_than_there_is_room_for() -> None:
    capacity = Capacity(2, 1)
    capacity.claimed(0, 5)
    assert capacity.free == 0
    assert capacity.claimable(0) == 0


def test_some_are_held_ready_beyond_the_slots() -> None:
    capacity = Capacity(10, 2)
    capacity.set_prefetch(1, 3)
    capacity.claimed(1, 10)
    assert capacity.claimable(1) == 3
    capacity.claimed(1, 3)
    assert capacity.claimable(1) == 0


def test_room_to_hold_orders_ready_is_for_those_of_that_queue() -> None:
    capacity = Capacity(10, 2)
    capacity.set_prefetch(0, 3)
    capacity.claimed(1, 8)
    assert (capacity.claimable(0), capacity.claimable(1)) == (5, 2)
    capacity.claimed(1, 2)
    assert (capacity.claimable(0), capacity.claimable(1)) == (3, 0)


def test_what_others_hold_ready_takes_no_slot_from_a_queue() -> None:
    capacity = Capacity(10, 2)
    capacity.set_prefetch(1, 5)
    capacity.claimed(1, 14)
    assert capacity.claimable(0) == 1


def test_who_waits_behind_ready_orders_is_not_starved_by_them() -> None:
    capacity = Capacity(10, 2)
    capacity.set_prefetch(0, 5)
    capacity.set_backlog(0, True)
    capacity.set_backlog(1, True)
    capacity.claimed(0, 10)
    for _ in range(2):
        capacity.dropped(0, capacity.reserve(0, 5))
    assert capacity.claimable(1) == 1


def test_none_are_held_ready_while_the_capacity_is_lowered() -> None:
    capacity = Capacity(10, 1)
    capacity.set_prefetch(0, 3)
    capacity.limit = 1
    assert capacity.claimable(0) == 1


def served(slots: int, turns: int, waiting: tuple[bool, ...]) -> list[int]:
    """Orders granted to each queue when each turn frees all the room again."""
    capacity = Capacity(slots, len(waiting))
    granted, reserved = [0] * len(waiting), [0] * len(waiting)
    for queue, waits in enumerate(waiting):
        capacity.set_backlog(queue, waits)
    for _ in range(turns):
        for queue, waits in enumerate(waiting):
            if waits:
                granted[queue] += (got := capacity.reserve(queue, 500))
                reserved[queue] = got
        for queue, got in enumerate(reserved):
            capacity.unreserve(queue, got)
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
    capacity = Capacity(10, 500)
    assert list(capacity.next()) == []
    for queue in (7, 300, 499):
        capacity.set_backlog(queue, True)
    assert list(capacity.next()) == [7]
    capacity.unreserve(7, capacity.reserve(7, 10))
    assert list(capacity.next()) == [300, 7]
    capacity.claimed(7, 9)
    assert list(capacity.next()) == [300]
    capacity.claimed(7, 1)
    assert list(capacity.next()) == []


def test_nobody_starves_where_there_is_room_for_one_order_alone() -> None:
    first, second = served(1, 1100, (True, True))
    assert (first, second) == (1000, 100)


def test_room_is_not_kept_for_a_queue_that_does_not_wait() -> None:
    assert served(10, 10, (True, False)) == [100, 0]
    assert served(10, 10, (False, True)) == [0, 100]


def test_a_queue_that_stops_waiting_loses_its_credit() -> None:
    capacity = Capacity(10, 2)
    capacity.set_backlog(1, True)
    for _ in range(5):
        capacity.unreserve(0, capacity.reserve(0, 10))
    capacity.set_backlog(1, False)
    assert capacity.claimable(0) == 10


def test_attempts_start_as_others_end_and_are_recorded() -> None:
    capacity = Capacity(2)
    capacity.claimed(0, 3)
    capacity.started()
    capacity.started()
    assert (capacity.startable, capacity.running) == (0, 2)
    capacity.ended(0)
    assert (capacity.startable, capacity.running, capacity.claimable(0)) == (0, 1, 0)
    capacity.recorded(1)
    assert (capacity.startable, capacity.claimable(0)) == (1, 0)
    capacity.dropped(0)
    assert capacity.claimable(0) == 1


def test_an_order_that_ends_frees_what_its_queue_may_prefetch() -> None:
    capacity = Capacity(10, 2)
    capacity.set_prefetch(0, 3)
    capacity.claimed(0, 3)
    assert capacity.claimable(1) == 10
    capacity.given_up(0)
    assert capacity.claimable(1) == 10
    capacity.set_prefetch(0, 0)
    assert capacity.claimable(1) == 8
