"""The checker finds what breaks each rule, and nothing in a history that keeps them all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.checker import Checker, check, main

LEASE = 2.0
Line = tuple[float, str, dict[str, Any]]


def rules(**more: Any) -> Line:
    told = {"lease": LEASE, "max_attempts": 2, "max_orphanings": 2, "order_timeout": 1.0}
    return 0.0, "rules", told | more


def up(*workers: str) -> list[Line]:
    return [(0.0, "up", {"worker": worker}) for worker in workers]


def order(at: float, event: str, order_id: str | None = "A", **fields: Any) -> Line:
    return at, event, {"queue": "orders", "order": order_id, **fields}


def enqueued(at: float, order_id: str | None = "A", **fields: Any) -> Line:
    return order(at, "enqueued", order_id, **fields)


def status(at: float, what: str, worker: str | None = "a", attempt: int = 1, **fields: Any) -> Line:
    by = {"worker": worker} if worker else {}
    return order(at, "status", status=what, attempt=attempt, **by, **fields)


def heard(at: float, worker: str = "a", name: str | None = None) -> Line:
    return at, "heard", {"worker": worker, "queue": "orders", "name": name or f"{worker}-1"}


def begun(at: float, worker: str = "a", attempt: int = 1, **fields: Any) -> list[Line]:
    return [
        heard(at, worker),
        status(at, "processing", worker, attempt, **fields),
        order(at, "started", attempt=attempt, worker=worker, **fields),
    ]


def ended(at: float, how: str, worker: str = "a", attempt: int = 1, **fields: Any) -> Line:
    return order(at, "ended", attempt=attempt, worker=worker, how=how, **fields)


def of(at: float, worker: str, event: str, **fields: Any) -> Line:
    return at, event, {"worker": worker, **fields}


def places(at: float, **there: int) -> Line:
    names = ("waiting", "in_flight", "retrying", "dead", "fulfilled", "duplicates", "dropped")
    return at, "places", {"queue": "orders", **dict.fromkeys(names, 0), **there}


def rolled_back(at: float, to: float) -> Line:
    return at, "rolled_back", {"queue": "orders", "to": to}


def end(at: float) -> Line:
    return at, "end", {}


def fulfilled(at: float, worker: str = "a", attempt: int = 1) -> list[Line]:
    """Begun, handled and fulfilled within 0.2 s."""
    return [
        *begun(at, worker, attempt),
        ended(at + 0.1, "success", worker, attempt),
        heard(at + 0.2, worker),
        status(at + 0.2, "fulfilled", worker, attempt),
    ]


def failed(at: float, how: str = "error", worker: str = "a", attempt: int = 1) -> list[Line]:
    return [
        *begun(at, worker, attempt),
        ended(at + 0.1, how, worker, attempt),
        heard(at + 0.2, worker),
        status(at + 0.2, "retrying", worker, attempt),
    ]


def orphaned(at: float, worker: str) -> list[Line]:
    """A worker dies with the order, and another finds it when the lease is over."""
    return [
        *begun(at, worker),
        of(at + 0.1, worker, "died"),
        status(at + 0.1 + LEASE, "retrying", "reaper"),
    ]


def found(*parts: Line | list[Line], **options: Any) -> list[str]:
    """The rules that are broken, in the order in which that is seen; after `up` of a, b and c."""
    lines = [rules(**options), *up("a", "b", "c")]
    for part in parts:
        lines += part if isinstance(part, list) else [part]
    told = [json.dumps({"t": at, "event": event, **fields}) for at, event, fields in lines]
    return [violation.rule for violation in check(told)]


def test_a_history_that_keeps_every_rule() -> None:
    assert not found(
        *(enqueued(0.1), enqueued(0.1, None), places(0.1, waiting=2)),
        order(0.2, "status", None, status="dead", reason="invalid", worker="a", attempt=0),
        *(failed(1.0), fulfilled(2.0, "b", 2), places(2.5, fulfilled=1, dead=1), end(3.0)),
    )


# --- kept -----------------------------------------------------------------------------------------


def test_kept_is_broken_by_an_order_that_is_in_no_place() -> None:
    assert found(enqueued(0.1), places(0.2)) == ["kept"]
    assert found(enqueued(0.1), places(0.2), places(0.3)) == ["kept"]


def test_kept_is_broken_by_an_order_that_never_ends() -> None:
    assert found(enqueued(0.1), begun(0.2), ended(0.3, "success"), end(9.0)) == ["kept"]
    assert found(enqueued(0.1), places(0.1, waiting=1), end(9.0)) == ["live", "live"]


def test_kept_is_broken_by_a_status_of_what_nobody_enqueued() -> None:
    assert found(begun(0.2)) == ["kept"]
    assert found(enqueued(0.5), rolled_back(0.6, 0.4), begun(0.7)) == ["kept"]


def test_kept_asks_for_no_order_that_was_deleted_or_rolled_away() -> None:
    deleted = (0.2, "deleted", {"queue": "orders", "orders": ["A", None]})
    assert not found(enqueued(0.1), enqueued(0.1, None), deleted, places(0.3), end(1.0))
    assert not found(enqueued(0.5), rolled_back(0.6, 0.4), places(0.6), end(1.0))
    assert found(enqueued(0.5), rolled_back(0.6, 0.5), places(0.6)) == ["kept"]


def test_kept_allows_an_entry_of_which_nobody_is_sure() -> None:
    unsure = enqueued(0.1, unsure=True)
    assert not found(unsure, places(0.2), end(0.3))
    assert not found(unsure, places(0.2, waiting=1), fulfilled(1.0), end(2.0))[1:]
    assert found(unsure, begun(0.2), end(0.3)) == ["kept"]


# --- balanced -------------------------------------------------------------------------------------


def test_balanced_is_broken_by_an_order_too_many() -> None:
    assert found(enqueued(0.1), places(0.2, waiting=2)) == ["balanced"]


@pytest.mark.parametrize("place", ["dead", "fulfilled", "dropped"])
def test_balanced_is_broken_by_an_end_that_nothing_told(place: str) -> None:
    assert found(enqueued(0.1), places(0.2, **{place: 1})) == ["balanced"]


def test_balanced_knows_letters_that_are_retried_and_dropped() -> None:
    dead = order(0.1, "status", None, status="dead", reason="invalid", worker="a", attempt=0)
    for event, there in (("retried", {"retrying": 1}), ("dropped", {"dropped": 1})):
        letter = order(0.2, event, None)
        assert not found(enqueued(0.1, None), dead, letter, places(0.3, **there))
        assert found(enqueued(0.1, None), dead, letter, places(0.3, dead=1)) == ["balanced"]


# --- owned once -----------------------------------------------------------------------------------


def test_owned_once_is_broken_by_a_second_owner() -> None:
    assert found(enqueued(0.1), begun(0.2), begun(1.0, "b")) == ["owned once"]


def test_owned_once_is_broken_by_a_reaper_that_is_early() -> None:
    early = status(0.2 + LEASE - 0.5, "retrying", "b")
    assert found(enqueued(0.1), begun(0.2), early) == ["owned once"]


def test_owned_once_counts_a_lease_from_the_last_heartbeat() -> None:
    late = status(0.2 + LEASE + 0.1, "retrying", "b")
    assert not found(enqueued(0.1), begun(0.2), late, begun(2.5, "b"))
    assert found(enqueued(0.1), begun(0.2), heard(1.5), late) == ["owned once"]
    # What it says under a new name is no heartbeat for what it held under the old one.
    assert not found(enqueued(0.1), begun(0.2), heard(1.5, "a", "a-2"), late)


def test_owned_once_takes_the_name_that_is_told_after_the_status() -> None:
    told = [status(0.2, "processing"), heard(0.2), order(0.2, "started", worker="a", attempt=1)]
    taken = status(0.2 + LEASE + 0.1, "retrying", "b")
    assert not found(enqueued(0.1), told, heard(1.5, "a", "a-2"), taken)


def test_owned_once_takes_the_name_of_the_next_heartbeat_where_none_came_with_the_status() -> None:
    lost = [*begun(0.2), status(2.5, "retrying", "b"), status(2.6, "processing")]
    told = [heard(2.7, "a", "a-2"), order(2.8, "started", worker="a", attempt=1)]
    assert not found(enqueued(0.1), lost, told)
    again = [status(2.6, "processing"), heard(2.65, "a", "a-2"), status(2.66, "processing")]
    assert not found(enqueued(0.1), lost[:-1], again, told[1:])


def test_owned_once_allows_to_take_from_who_is_gone() -> None:
    for event in ("died", "drained", "released"):
        given = [of(0.3, "a", event), status(0.4, "retrying", None), *begun(0.5, "b")]
        assert not found(enqueued(0.1), begun(0.2), given)


def test_owned_once_takes_the_lease_of_the_worker_itself() -> None:
    late = status(0.2 + LEASE + 0.1, "retrying", "b")
    own = of(0.05, "a", "up", lease=30.0)
    assert found(own, enqueued(0.1), begun(0.2), late) == ["owned once"]


def test_owned_once_is_broken_by_a_late_result() -> None:
    lost = [status(2.5, "retrying", "b"), *begun(2.6, "b")]
    late = [ended(2.7, "success"), status(2.7, "fulfilled")]
    assert found(enqueued(0.1), begun(0.2), lost, late) == ["owned once"]
    dead = status(2.7, "dead", reason="rejected")
    assert "owned once" in found(enqueued(0.1), begun(0.2), lost, ended(2.6, "rejected"), dead)
    assert found(enqueued(0.1), begun(0.2), lost, status(2.7, "retrying")) == ["owned once"]


def test_owned_once_is_broken_by_a_result_that_nobody_was_to_give() -> None:
    lost = [status(2.5, "retrying", "b")]
    late = [ended(2.7, "success"), status(2.7, "fulfilled")]
    assert found(enqueued(0.1), begun(0.2), lost, late) == ["owned once"]


def test_owned_once_is_broken_by_a_result_after_the_lease_if_renewals_are_told() -> None:
    late = [ended(0.5, "success"), heard(3.0), status(3.0, "fulfilled")]
    parts = (enqueued(0.1), begun(0.2), late)
    assert not found(*parts)
    assert found(*parts, renewals=True) == ["owned once"]
    renewed = (1.0, "renewed", {"queue": "orders"})
    assert not found(enqueued(0.1), begun(0.2), renewed, late, renewals=True)


def test_owned_once_is_broken_by_a_start_without_leave() -> None:
    started = order(0.3, "started", worker="b", attempt=1)
    assert found(enqueued(0.1), started) == ["owned once"]
    assert found(enqueued(0.1), begun(0.2), started) == ["owned once"]
    again = order(0.6, "started", worker="a", attempt=1)
    assert found(enqueued(0.1), failed(0.2), again) == ["owned once"]


def test_owned_once_is_broken_by_a_start_that_its_worker_must_know_to_be_lost() -> None:
    lost = [heard(0.2), status(0.2, "processing"), status(2.5, "retrying", "b")]
    late = order(2.6, "started", worker="a", attempt=1)
    assert not found(enqueued(0.1), lost, late)
    assert found(enqueued(0.1), lost, heard(2.55, "a", "a-2"), late) == ["owned once"]


def test_owned_once_is_broken_by_two_runs_in_one_worker() -> None:
    again = order(0.6, "started", worker="a", attempt=1)
    running = found(enqueued(0.1), begun(0.2), again, order_timeout=5.0)
    assert running == ["owned once"]


def test_owned_once_is_broken_by_an_order_that_is_given_back_and_goes_on() -> None:
    back = [heard(0.4), status(0.4, "retrying")]
    assert found(enqueued(0.1), begun(0.2), back, begun(0.5, "b")) == ["owned once"]
    cut = ended(0.3, "interrupted")
    assert not found(enqueued(0.1), begun(0.2), cut, back, begun(0.5, "b"))
    draining = of(0.3, "a", "draining")
    assert not found(enqueued(0.1), begun(0.2), draining, back, begun(0.5, "b"))
    late = [heard(1.3), status(1.3, "retrying")]
    assert not found(enqueued(0.1), begun(0.2), late, begun(1.5, "b", 2))


def test_owned_once_allows_what_redis_has_forgotten() -> None:
    assert not found(enqueued(0.1), begun(0.2), rolled_back(0.5, 0.1), begun(0.6, "b"))
    both = found(enqueued(0.1), begun(0.2), rolled_back(0.5, 0.3), begun(0.6, "b"))
    assert both == ["owned once"]


def test_owned_once_allows_the_result_of_a_begin_that_redis_has_forgotten() -> None:
    done = [ended(0.6, "success"), heard(0.7), status(0.7, "fulfilled")]
    assert not found(enqueued(0.1), begun(0.2), rolled_back(0.5, 0.15), done, end(1.0))
    others = [heard(0.55, "b"), status(0.55, "processing", "b")]
    late = found(enqueued(0.1), begun(0.2), rolled_back(0.5, 0.15), others, done)
    assert late == ["owned once"]


def test_owned_once_allows_to_begin_again_what_redis_has_forgotten_the_end_of() -> None:
    """Its handler had used up its time, and did not stop when it was told."""
    timed_out = [heard(2.3), status(2.3, "retrying")]
    again = [rolled_back(2.5, 2.0), *begun(2.6)]
    limits = {"order_timeout": 2.0}
    assert not found(enqueued(0.1), begun(0.2), timed_out, again, **limits)
    running = found(enqueued(0.1), begun(0.2), again, order_timeout=5.0)
    assert running == ["owned once"]


def test_owned_once_allows_to_give_back_what_has_not_started() -> None:
    given = [heard(0.2), status(0.2, "processing"), heard(0.4)]
    assert not found(enqueued(0.1), given, begun(0.5, "b"))
    started = order(0.6, "started", worker="a", attempt=1)
    assert found(enqueued(0.1), given, begun(0.5, "b"), started) == ["owned once"]


def test_owned_once_tells_calls_of_one_attempt_apart_by_their_numbers() -> None:
    first = [*begun(0.2), status(2.5, "retrying", "b"), heard(2.6, "a", "a-2")]
    first[2][2]["call"] = 1
    again = [status(2.6, "processing"), order(2.6, "started", worker="a", attempt=1, call=2)]
    late = order(2.7, "ended", worker="a", attempt=1, call=1, how="given_up")
    back = [status(2.8, "retrying"), *begun(2.9, "b")]
    assert found(enqueued(0.1), first, again, late, back) == ["owned once"]
    done = order(2.75, "ended", worker="a", attempt=1, call=2, how="interrupted")
    assert not found(enqueued(0.1), first, again, done, back)


def test_owned_once_hears_nobody_under_two_names() -> None:
    both = [heard(2.5), heard(2.5, "a", "a-2"), status(2.5, "retrying", "a")]
    assert not found(enqueued(0.1), begun(0.2), both, begun(2.6, "b"))


# --- final ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["processing", "retrying", "dead", "fulfilled"])
def test_final_is_broken_by_a_status_after_the_end(what: str) -> None:
    assert found(enqueued(0.1), fulfilled(0.2), status(0.6, what)) == ["final"]


def test_final_is_broken_by_a_start_after_the_end() -> None:
    started = order(0.6, "started", worker="a", attempt=1)
    assert found(enqueued(0.1), enqueued(0.1), fulfilled(0.2), started) == ["final"]


def test_final_allows_a_start_by_who_cannot_know_that_it_has_lost_the_order() -> None:
    lost = [heard(0.2), status(0.2, "processing"), status(2.5, "retrying", "b")]
    late = order(2.9, "started", worker="a", attempt=1)
    assert not found(enqueued(0.1), lost, fulfilled(2.6, "b"), late)


def test_final_allows_an_end_that_was_rolled_back() -> None:
    again = fulfilled(1.0)
    assert not found(enqueued(0.1), fulfilled(0.2), rolled_back(0.5, 0.3), again, end(2.0))
    assert found(enqueued(0.1), fulfilled(0.2), rolled_back(0.5, 0.45), again)[0] == "final"


def test_final_is_broken_by_a_dead_order_that_comes_back_by_itself() -> None:
    dead = [*begun(0.2), ended(0.3, "rejected"), heard(0.4), status(0.4, "dead", reason="rejected")]
    back = status(0.6, "retrying", None)
    retried = order(0.6, "retried")
    assert found(enqueued(0.1), dead, begun(0.7)) == ["final"]
    assert found(enqueued(0.1), dead, status(0.6, "retrying"))[0] == "final"
    for told in ([retried, back], [back, retried]):
        assert not found(enqueued(0.1), dead, told, fulfilled(0.7), end(2.0))
    assert not found(enqueued(0.1), enqueued(0.1), dead, fulfilled(0.7))


# --- justified ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["error", "timeout", "rejected", "retry", "interrupted"])
def test_justified_is_broken_by_an_end_without_success(how: str) -> None:
    told = [*begun(0.2), ended(0.3, how), heard(0.4), status(0.4, "fulfilled")]
    assert found(enqueued(0.1), told) == ["justified"]


def test_justified_is_broken_by_the_success_of_another() -> None:
    done = [*begun(0.2), ended(0.3, "success"), status(2.5, "retrying", "b"), *begun(2.6, "b")]
    assert found(enqueued(0.1), done, status(2.7, "fulfilled", "b")) == ["justified"]
    assert not found(enqueued(0.1), done, status(2.7, "fulfilled", None))


# --- blameless ------------------------------------------------------------------------------------


def test_blameless_is_broken_by_a_dead_order_that_failed_too_seldom() -> None:
    dead = status(1.4, "dead", attempt=2, reason="attempts_exhausted")
    second = [*begun(1.2, attempt=2), ended(1.3, "error", attempt=2), dead]
    assert not found(enqueued(0.1), failed(0.2), second, end(2.0))
    assert "blameless" in found(enqueued(0.1), failed(0.2, "interrupted"), second)
    only = status(0.4, "dead", reason="attempts_exhausted")
    assert found(enqueued(0.1), begun(0.2), ended(0.3, "error"), only) == ["blameless"]


def test_blameless_counts_anew_once_a_letter_is_retried() -> None:
    dead = [*failed(0.2), *begun(0.5, attempt=2), ended(0.6, "error", attempt=2)]
    dead.append(status(0.7, "dead", attempt=2, reason="attempts_exhausted"))
    back = [order(0.8, "retried"), status(0.8, "retrying", None)]
    assert not found(enqueued(0.1), dead, back, fulfilled(0.9), end(2.0))
    assert found(enqueued(0.1), dead, back, begun(0.9, attempt=2)) == ["blameless"]


def test_blameless_counts_a_handler_that_does_not_end_in_time() -> None:
    hangs = [*begun(0.2), heard(1.3), status(1.3, "retrying")]
    assert not found(enqueued(0.1), hangs, begun(1.4, attempt=2))
    assert not found(enqueued(0.1), hangs, ended(1.35, "success"), begun(1.4, attempt=2))


def test_blameless_is_broken_by_a_rejection_that_no_handler_made() -> None:
    dead = status(0.4, "dead", reason="rejected")
    assert not found(enqueued(0.1), begun(0.2), ended(0.3, "rejected"), dead, end(1.0))
    assert found(enqueued(0.1), begun(0.2), ended(0.3, "error"), dead) == ["blameless"]


def test_blameless_is_broken_by_an_orphan_whose_workers_lived() -> None:
    last = [*begun(3.0, "b"), of(3.1, "b", "died")]
    dead = status(5.2, "dead", "c", reason="orphaned")
    kept = [heard(at / 2, "c") for at in range(12)]

    def told(*parts: Line | list[Line]) -> list[str]:
        lines = [line for part in parts for line in (part if isinstance(part, list) else [part])]
        return found(sorted([*lines, *kept], key=lambda line: line[0]))

    assert not told(enqueued(0.1), orphaned(0.2, "a"), last, dead, end(5.5))
    assert told(enqueued(2.9), last, dead) == ["blameless"]


def test_blameless_counts_a_worker_that_ended_after_it_was_silent_for_a_lease() -> None:
    lost = [*begun(0.2), status(0.3 + LEASE, "retrying", "reaper")]
    last = [*begun(3.0, "b"), of(3.1, "b", "died")]
    dead = status(3.2, "dead", "c", reason="orphaned")
    silent = of(2.9, "a", "drained", how="aborted")
    assert not found(enqueued(0.1), lost, silent, last, dead, end(3.5))
    assert found(enqueued(0.1), failed(0.2), silent, last, dead) == ["blameless"]


def test_blameless_counts_a_worker_that_had_asked_for_the_order_and_ended_before_it_came() -> None:
    limits = {"max_orphanings": 1}
    dead = status(1.6, "dead", "c", 0, reason="orphaned")
    gone = of(0.1, "a", "died")
    late = status(0.3, "processing", "a")
    assert not found(gone, enqueued(0.2), late, dead, **limits)
    assert "blameless" in found(gone, enqueued(0.2), dead, **limits)
    assert "blameless" in found(gone, enqueued(0.2), late, dead, max_orphanings=2)


def test_blameless_counts_a_worker_that_ended_with_the_order() -> None:
    """Its claim was answered by a lost reply, say, and Redis was silent until it had to end."""
    limits = {"max_orphanings": 1}
    left = [status(0.2, "processing", "a"), of(0.3, "a", "drained")]
    dead = status(0.4 + LEASE, "dead", "c", 0, reason="orphaned")
    assert not found(enqueued(0.1), left, dead, **limits)
    assert "blameless" in found(enqueued(0.1), left, dead, max_orphanings=2)


def test_blameless_counts_a_worker_that_holds_an_order_again_and_has_ended() -> None:
    """By the data with which Redis came back."""
    done = [*fulfilled(0.2), of(0.6, "a", "drained")]
    dead = status(1.5, "dead", "c", 0, reason="orphaned")
    limits = {"max_orphanings": 1}
    assert not found(enqueued(0.1), done, rolled_back(0.8, 0.3), dead, **limits)
    before = [of(0.15, "b", "drained"), *fulfilled(0.2), rolled_back(0.8, 0.3)]
    assert "blameless" in found(enqueued(0.1), before, dead, **limits)


def test_blameless_forgets_a_failure_that_redis_has_forgotten() -> None:
    forgotten = [*failed(0.2), rolled_back(0.5, 0.35), heard(0.6), status(0.6, "processing")]
    given_back = [heard(0.7), status(0.7, "retrying")]
    assert not found(enqueued(0.1), forgotten, given_back, begun(0.8, "b"))
    told = [*failed(0.2), rolled_back(0.5, 0.35), *given_back]
    assert not found(enqueued(0.1), told, begun(0.8, "b")), "given back without a begin"
    untold = [*begun(0.2), ended(0.3, "error"), rolled_back(0.5, 0.35), *given_back]
    assert found(enqueued(0.1), untold, begun(0.8, "b")) == ["blameless"], "it is told only now"
    assert found(enqueued(0.1), failed(0.2), begun(0.8, "b")) == ["blameless"]


def test_blameless_is_broken_by_a_good_order_that_is_called_invalid() -> None:
    dead = status(0.3, "dead", reason="invalid")
    assert found(enqueued(0.1), begun(0.2), dead) == ["blameless"]
    assert not found(enqueued(0.1, invalid=True), begun(0.2), dead)


def test_blameless_is_broken_by_an_attempt_that_no_failure_explains() -> None:
    assert found(enqueued(0.1), begun(0.2, attempt=2)) == ["blameless"]
    assert found(enqueued(0.1), failed(0.2, "interrupted"), begun(0.6, attempt=2)) == ["blameless"]
    assert not found(enqueued(0.1), failed(0.2, "interrupted"), begun(0.6))


def test_blameless_is_broken_by_a_failure_that_is_forgotten() -> None:
    assert found(enqueued(0.1), failed(0.2), begun(0.6)) == ["blameless"]
    assert not found(enqueued(0.1), failed(0.2), rolled_back(0.5, 0.35), begun(0.6))


def test_blameless_is_broken_by_a_start_as_another_attempt_than_was_begun() -> None:
    told = [heard(0.6), status(0.6, "processing", attempt=2), order(0.6, "started", worker="a")]
    told[-1][2]["attempt"] = 1
    assert found(enqueued(0.1), failed(0.2), told) == ["blameless"]


# --- live -----------------------------------------------------------------------------------------


CALM: Line = (0.0, "calm", {})
SETTLED = LEASE + 3.0


def test_live_is_broken_by_orders_that_wait_while_a_worker_has_room() -> None:
    room = of(0.0, "a", "room", free=1)
    waits = places(1.0, waiting=1)
    first = enqueued(1.0)
    late = enqueued(SETTLED + 2.5, "B")
    seen = places(SETTLED + 2.5, waiting=2)
    assert found(CALM, room, first, waits, late, seen) == ["live"]
    assert found(CALM, room, first, waits, end(9.0))[0] == "live"
    assert found(CALM, room, first, waits, of(8.0, "a", "room", free=0)) == ["live"]
    assert not found(CALM, room, first, waits, of(6.0, "a", "room", free=0), late, seen)
    assert not found(CALM, of(0.0, "a", "room", free=0), first, waits, late, seen)
    assert not found(room, first, waits, late, seen)
    assert not found(CALM, room, first, waits, (4.0, "fault", {"kind": "x", "id": 1}), late, seen)
    assert not found(CALM, room, first, waits, of(4.0, "b", "died"), late, seen)
    assert not found(CALM, room, first, waits, of(4.0, "a", "stopped"), late, seen)
    assert not found(CALM, room, first, waits, of(4.0, "a", "draining"), late, seen)
    other = of(0.0, "a", "up", queues=["returns"])
    assert not found(CALM, other, room, first, waits, late, seen)


def test_live_waits_for_nobody_while_the_queue_is_paused() -> None:
    room = of(0.0, "a", "room", free=1)
    first, waits, late = enqueued(1.0), places(1.0, waiting=1), places(9.0, waiting=1)
    paused, resumed = (2.0, "paused", {"queue": "orders"}), (6.9, "resumed", {"queue": "orders"})
    assert not found(CALM, room, first, waits, paused, late, end(9.0))
    assert found(CALM, room, first, waits, paused, resumed, late) == ["live"]
    # It is paused again once Redis comes back with what it had then.
    assert not found(CALM, room, first, waits, paused, resumed, rolled_back(7.0, 2.0), late)


def test_live_is_broken_by_an_order_that_does_not_start_in_calm() -> None:
    room, late = of(0.0, "a", "room", free=1), of(9.0, "a", "room", free=0)
    assert found(CALM, room, enqueued(6.0), late) == ["live"]
    assert not found(CALM, room, enqueued(6.0), fulfilled(6.5), late)
    assert not found(CALM, room, enqueued(4.0), late)
    assert not found(CALM, room, enqueued(6.0), of(6.5, "a", "room", free=0), late)
    assert not found(CALM, room, enqueued(6.0), (6.5, "fault", {"kind": "x", "id": 1}), late)


def test_live_is_broken_by_a_worker_that_spins() -> None:
    exchanges = [of(1 + number / 1000, "a", "exchange") for number in range(150)]
    assert found(exchanges) == ["live"]
    slow = [of(1 + number / 90, "a", "exchange") for number in range(500)]
    assert not found(slow)
    busy = [enqueued(1.0), *fulfilled(1.0), *exchanges]
    assert found(sorted(busy, key=lambda line: line[0])) == ["live"]
    assert not found(enqueued(0.5), failed(0.6), fulfilled(0.9, attempt=2), exchanges[:140])


def test_live_is_broken_by_what_is_left_at_the_end() -> None:
    left = places(1.0, retrying=1)
    assert found(enqueued(0.1), failed(0.2), left, end(60.0)) == ["live", "live"]


# --- the module -----------------------------------------------------------------------------------


def test_bounds_are_parameters() -> None:
    checker = Checker(exchanges=3)
    for number in range(5):
        checker.feed({"t": number / 100, "event": "exchange", "worker": "a"})
    assert [violation.rule for violation in checker.finish()] == ["live"]


def test_events_that_it_does_not_know_are_passed_over() -> None:
    assert not found((0.1, "weather", {"sun": True}), enqueued(0.2), fulfilled(0.3), end(1.0))


def test_violation_names_the_order_the_workers_and_the_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "history"
    lines = [enqueued(0.1), *begun(0.2), *begun(1.0, "b")]
    told = [json.dumps({"t": at, "event": event, **fields}) for at, event, fields in lines]
    path.write_text("\n".join(told))
    assert main([str(path)]) == 1
    said = "A of orders is begun by b, though a has it since 0.200 and was heard at 0.200"
    assert capsys.readouterr().out == f"1.000000 owned once: {said}\n"
    path.write_text(told[0])
    assert main([str(path)]) == 0
    assert main([]) == 2


def test_justified_is_judged_at_the_end_of_a_merged_history() -> None:
    """Clocks of two machines may tell that the end of a call came after its record."""
    rules = {"lease": 1.0, "max_attempts": 2, "max_orphanings": 3, "order_timeout": 1.0}
    told = {"queue": "q", "order": "A", "attempt": 1, "worker": "w"}
    lines = [
        {"t": 0.0, "event": "rules", **rules, "merged": True},
        {"t": 0.0, "event": "up", "worker": "w"},
        {"t": 0.1, "event": "enqueued", "queue": "q", "order": "A"},
        {"t": 0.2, "event": "status", **told, "status": "processing"},
        {"t": 0.3, "event": "started", **told},
        {"t": 0.4, "event": "status", **told, "status": "fulfilled"},
        {"t": 0.401, "event": "ended", **told, "how": "success"},
        {"t": 0.5, "event": "end"},
    ]
    assert not check(map(json.dumps, lines))
    lines[-2] = lines[-2] | {"how": "error"}
    assert [each.rule for each in check(map(json.dumps, lines))] == ["justified"]
    lines[0] = lines[0] | {"merged": False}
    assert [each.rule for each in check(map(json.dumps, lines))][:1] == ["justified"]


def asked(at: float, act: str, **fields: Any) -> Line:
    return order(at, "asked", act=act, **fields)


def test_obeyed_orders_are_held_until_their_release_and_cancelled_for_good() -> None:
    assert not found(
        asked(1.0, "hold"),
        enqueued(1.1),
        status(1.2, "held"),
        places(1.2, held=1),
        asked(2.0, "release"),
        status(2.0, "retrying", "operator"),
        begun(2.1),
        asked(2.2, "cancel"),
        ended(2.3, "interrupted"),
        heard(2.4),
        status(2.4, "cancelled"),
        places(2.4, cancelled=1),
        end(9.0),
    )


def test_obeyed_wish_that_comes_after_a_success_is_too_late() -> None:
    assert not found(
        enqueued(1.0),
        begun(1.1),
        asked(1.2, "cancel"),
        ended(1.3, "success"),
        heard(1.4),
        status(1.4, "fulfilled"),
        places(1.4, fulfilled=1),
    )


def test_obeyed_cancellation_of_a_dead_letter_takes_it_away() -> None:
    assert not found(
        enqueued(1.0),
        begun(1.1),
        ended(1.2, "rejected"),
        heard(1.3),
        status(1.3, "dead", reason="rejected"),
        asked(2.0, "cancel", dead=1),
        status(2.0, "cancelled", "operator"),
        places(2.0, cancelled=1),
    )


@pytest.mark.parametrize("act", ["hold", "cancel"])
def test_obeyed_is_broken_by_an_order_that_begins_against_a_wish(act: str) -> None:
    assert found(enqueued(1.0), asked(1.1, act), begun(1.2)) == ["obeyed"]
    # A retry doesn't overtake it.
    assert found(enqueued(1.0), failed(1.1), asked(1.5, act), begun(1.6, "a", 2)) == ["obeyed"]


def test_obeyed_is_broken_by_a_held_order_that_nobody_released() -> None:
    held = [asked(1.0, "hold"), enqueued(1.1), status(1.2, "held")]
    assert found(held, status(1.3, "retrying", "operator"))[0] == "obeyed"
    # It was released once, and is held again.
    again = [asked(1.3, "release"), asked(1.4, "hold"), status(1.5, "held")]
    assert found(held, again, status(1.6, "retrying", "operator"))[0] == "obeyed"


def test_obeyed_wish_that_a_rollback_undoes_is_none() -> None:
    assert not found(enqueued(1.0), asked(2.0, "cancel"), rolled_back(2.5, 1.5), fulfilled(2.6))


def test_final_is_broken_by_a_cancelled_order_that_is_started() -> None:
    cancelled = [asked(1.0, "cancel"), enqueued(1.1), status(1.2, "cancelled")]
    assert found(cancelled, status(1.3, "held"))[0] == "final"
    assert found(cancelled, order(1.3, "started", attempt=1, worker="a")) == ["final"]


def test_live_is_broken_by_an_order_that_is_held_at_the_end() -> None:
    held = [asked(1.0, "hold"), enqueued(1.1), status(1.2, "held"), places(1.2, held=1)]
    assert "live" in found(held, end(20.0))


def limited(at: float, **fields: Any) -> Line:
    return at, "limited", {"queue": "orders", **fields}


def keyed(at: float, order_id: str, key: str | None = "c-1") -> Line:
    return order(at, "enqueued", order_id, **({"key": key} if key else {}))


def starts(at: float, order_id: str, worker: str = "a") -> list[Line]:
    return [
        heard(at, worker),
        order(at, "status", order_id, status="processing", attempt=1, worker=worker),
        order(at, "started", order_id, attempt=1, worker=worker),
    ]


def ends(at: float, order_id: str, worker: str = "a") -> list[Line]:
    return [
        order(at, "ended", order_id, attempt=1, worker=worker, how="success"),
        heard(at, worker),
        order(at, "status", order_id, status="fulfilled", attempt=1, worker=worker),
    ]


TWO = [keyed(1.0, "A"), keyed(1.0, "B")]


def test_limited_is_broken_by_two_of_a_key_at_once() -> None:
    one_of_each = [limited(0.5, at_once=1), *TWO]
    assert found(one_of_each, starts(1.1, "A"), starts(1.2, "B", "b")) == ["limited"]
    assert not found(one_of_each, starts(1.1, "A"), ends(1.2, "A"), starts(1.3, "B", "b"))
    two = limited(0.5, at_once=2)
    assert not found(two, TWO, starts(1.1, "A"), starts(1.2, "B", "b"))
    others = [keyed(1.0, "A", None), keyed(1.0, "B", None)]
    assert not found(limited(0.5, at_once=1), others, starts(1.1, "A"), starts(1.2, "B", "b"))


def test_limited_is_broken_by_more_in_flight_than_may() -> None:
    said = [limited(0.5, in_flight=1), *TWO]
    assert found(said, starts(1.1, "A"), starts(1.2, "B", "b")) == ["limited"]
    assert not found(said, starts(1.1, "A"), limited(1.15), starts(1.2, "B", "b"))
    # One whose worker is gone doesn't count.
    assert not found(said, starts(1.1, "A"), of(1.15, "a", "died"), starts(1.2, "B", "b"))


def test_limited_is_broken_by_starts_that_come_too_soon() -> None:
    said = [CALM, limited(0.5, rate=10.0, burst=1), *TWO]
    assert found(said, starts(1.1, "A"), starts(1.15, "B", "b")) == ["limited"]
    assert not found(said, starts(1.1, "A"), starts(1.2, "B", "b"))
    burst = limited(0.5, rate=10.0, burst=2)
    assert not found(CALM, burst, TWO, starts(1.1, "A"), starts(1.15, "B", "b"))
    of_keys = limited(0.5, key_rate=10.0, key_burst=1)
    assert found(CALM, of_keys, TWO, starts(1.1, "A"), starts(1.15, "B", "b")) == ["limited"]


def test_live_is_broken_by_an_order_that_waits_for_nobody() -> None:
    waits: list[Line] = [CALM, limited(0.2, at_once=1), of(0.3, "b", "room", free=3), *TWO]
    gone = [*starts(1.1, "A"), *ends(1.5, "A")]
    assert "live" in found(waits, gone, (20.0, "tick", {}), (25.0, "tick", {}))
    still: list[Line] = [heard(20.0), *[(20.0 + each, "tick", {}) for each in range(2)]]
    assert not found(waits, starts(1.1, "A"), still)
