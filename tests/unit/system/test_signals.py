"""Who hears the signals that ask a program to end."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from fulfillment_worker.system.signals import STOPPING, hear, hear_again, hear_no_more

HEARD: list[int] = []


def note(number: int, _frame: object) -> None:
    HEARD.append(number)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {each: signal.getsignal(each) for each in STOPPING}
    HEARD.clear()
    yield
    hear_no_more()
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("number", STOPPING)
def test_signal_is_heard(number: signal.Signals) -> None:
    hear(note)
    signal.raise_signal(number)
    assert [number] == HEARD


def test_signal_that_was_held_back_is_let_in() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    hear(note)
    signal.raise_signal(signal.SIGTERM)
    assert HEARD == [signal.SIGTERM]


def test_sighup_stays_ignored_where_it_was() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    hear(note)
    hear_again()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    hear_no_more()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_signal_that_a_library_has_taken_is_taken_back() -> None:
    hear(note)
    assert not hear_again()
    signal.signal(signal.SIGTERM, lambda *_: None)
    assert hear_again()
    signal.raise_signal(signal.SIGTERM)
    assert HEARD == [signal.SIGTERM]


def test_signals_do_by_default_what_they_did_once_nobody_hears_them() -> None:
    hear(note)
    hear_no_more()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
