"""The end of a demo: what counts as success, and what the summary says."""

from __future__ import annotations

import pytest

from fulfillment_worker.admin.inspector import Overview
from fulfillment_worker.core.exchange import Survey
from fulfillment_worker.demo.books import Account, summary
from fulfillment_worker.demo.tally import Tally
from fulfillment_worker.runtime.lifecycle import Ending
from tests.unit.demo.support import survey

GOOD = survey(received=10, fulfilled=8, dead=2)


def account(
    after: Survey,
    *,
    before: Survey | None = None,
    placed: int = 10,
    orders: int | None = 10,
    complete: bool = True,
    ending: Ending = Ending.DRAINED,
) -> Account:
    tally = Tally(orders)
    tally.placed, tally.complete = placed, complete
    return Account(tally=tally, before=before or survey(), after=after, ending=ending, seconds=2.0)


def test_all_accounted_for_is_a_success() -> None:
    assert account(GOOD).faults == []


def test_the_books_of_earlier_runs_are_left_out() -> None:
    before = survey(received=100, fulfilled=90, dead=5, retrying=5)
    after = survey(received=110, fulfilled=102, dead=8)
    assert account(after, before=before).faults == []


def test_orders_that_others_placed_do_no_harm() -> None:
    after = survey(received=11, fulfilled=9, dead=2, waiting=1)
    assert account(after).from_elsewhere == 2
    assert account(after).faults == []


@pytest.mark.parametrize(
    ("faulty", "says"),
    [
        (
            account(survey(received=10, fulfilled=7, dead=2)),
            "the books don't balance: 1 are unaccounted for",
        ),
        (
            account(survey(received=9, fulfilled=7, dead=2), complete=False),
            "1 of the orders placed never arrived",
        ),
        (
            account(survey(received=10, fulfilled=7, dead=2, retrying=1)),
            "only 9 of 10 orders have ended",
        ),
        (
            account(survey(received=10, fulfilled=9, in_flight=1), ending=Ending.STRANDED),
            "it was cut short before the running orders had ended",
        ),
    ],
)
def test_what_is_no_success_says_why(faulty: Account, says: str) -> None:
    assert says in faulty.faults


def test_a_run_that_was_interrupted_need_not_have_ended_all() -> None:
    after = survey(received=5, fulfilled=4, retrying=1, waiting=1)
    assert account(after, placed=6, complete=False).faults == []


def test_the_summary_counts_each_outcome_and_shows_the_books() -> None:
    told = account(GOOD)
    tally = told.tally
    tally.fulfilled, tally.after_retry, tally.rejected, tally.invalid = 8, 1, 1, 1
    tally.attempts, tally.failed = 11, 2
    assert summary(told) == [
        "placed 10 orders; it took 2.0 s, 5 orders/s",
        "  fulfilled        8   of these, 1 after a retry",
        "  rejected         1   the shop said no: dead letters",
        "  invalid          1   no orders at all: dead letters, with their exact bytes",
        "11 attempts, of which 2 failed",
        "books: received 10 = fulfilled 8 + dead 2 + duplicates 0 + in flight 0 + retrying 0: "
        "balanced",
    ]


def test_the_summary_of_an_interrupted_run_tells_what_is_left() -> None:
    after = survey(received=5, fulfilled=3, retrying=1, dropped=1, waiting=1)
    told = account(after, before=survey(received=1, fulfilled=1), placed=4, complete=False)
    told.tally.duplicates = told.tally.exhausted = told.tally.attempts = 1
    text = "\n".join(summary(told))
    assert "placed 4 of 10 orders (and 1 from elsewhere)" in text
    assert "left in the queue: 1 waiting, 1 retrying" in text
    assert "duplicates       1" in text
    assert "given up         1" in text
    assert "1 attempt, of which 0 failed" in text
    assert "books since the queue exists: received 5" in text
    assert text.endswith("+ retrying 1 + dropped 1: balanced")


def test_books_that_do_not_balance_say_so_in_the_last_line() -> None:
    assert summary(account(survey(received=10)))[-1].endswith(": not balanced")


def test_an_overview_is_read_as_a_survey() -> None:
    overview = Overview(
        queue="orders",
        at=7,
        waiting=1,
        oldest=None,
        in_flight=2,
        retrying=3,
        dead=4,
        paused=False,
        received=20,
        fulfilled=5,
        duplicates=5,
        dropped=1,
        workers=[],
    )
    assert overview.survey.unaccounted == 0
    assert overview.survey.oldest == 7
