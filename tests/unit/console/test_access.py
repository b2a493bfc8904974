"""Who may see the console, and do what."""

from __future__ import annotations

import pytest

from fulfillment_worker.console.access import (
    RIGHT_OF,
    RIGHTS,
    SESSION_SECONDS,
    Access,
    Options,
    is_loopback,
)

TOKEN = "a-token-of-some-length"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def access(token: str | None = TOKEN, clock: Clock | None = None, **options: object) -> Access:
    return Access(Options(token=token, user="ops@desk", **options), clock or Clock())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080"),
        *("10.0.0.7", "console.shop.example", "console.shop.example:443"),
    ],
)
def test_host_of_ours_is_known(host: str) -> None:
    assert access(names=("console.shop.example",)).is_ours(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[", "a b"]
)
def test_host_of_others_is_refused(host: str) -> None:
    assert not access().is_ours(host)
    assert not access(host="").is_ours(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_loopback_is_this_machine_alone(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "console.shop.example"])
def test_other_addresses_are_no_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_session_names_who_signed_in() -> None:
    ours = access()
    session = ours.sign_in("Zoë · night shift").session
    visitor = ours.visitor(session, "")
    assert visitor is not None
    assert (visitor.name, visitor.is_new, visitor.is_program) == ("Zoë · night shift", False, False)
    assert ours.is_form_of(visitor, visitor.csrf)
    assert not ours.is_form_of(visitor, "")


@pytest.mark.parametrize("cookie", ["", "x", "a.b.c.d", "\xff", "9999999999.nonce.b3Bz."])
def test_session_that_is_not_ours_is_nobody(cookie: str) -> None:
    assert access().visitor(cookie, "") is None


def test_session_that_was_changed_is_nobody() -> None:
    ours = access()
    session = ours.sign_in("ops").session
    _, rest = session.split(".", 1)
    assert ours.visitor(f"9999999999.{rest}", "") is None


def test_session_ends() -> None:
    clock = Clock()
    ours = access(clock=clock)
    session = ours.sign_in("ops").session
    clock.now += SESSION_SECONDS - 1
    assert ours.visitor(session, "")
    clock.now += 2
    assert ours.visitor(session, "") is None


def test_session_outlives_a_restart_and_ends_with_its_token() -> None:
    session = access().sign_in("ops").session
    assert access().visitor(session, "")
    assert access("another-token-of-length").visitor(session, "") is None


def test_forms_belong_to_one_session() -> None:
    ours = access()
    one, other = ours.sign_in("ops"), ours.sign_in("ops")
    assert not ours.is_form_of(one, other.csrf)


def test_without_a_token_everybody_here_is_who_started_it() -> None:
    visitor = access(None).visitor("", "")
    assert visitor is not None
    assert (visitor.name, visitor.is_new) == ("ops@desk", True)


def test_bearer_token_is_a_program() -> None:
    visitor = access().visitor("", TOKEN)
    assert visitor is not None
    assert visitor.is_program
    for wrong in ("x", TOKEN + "x", "\ud800"):
        assert access().visitor("", wrong) is None
    assert access(None).visitor("", "anything") is None


def test_rights_are_needed_for_each_act() -> None:
    assert set(RIGHT_OF.values()) == set(RIGHTS)
    only_hold = access(allow=frozenset({"hold"}))
    assert [act for act in RIGHT_OF if only_hold.may(act)] == ["hold", "release"]
    assert not access().may("hold")
    assert not only_hold.may("unknown")


def test_options_never_show_the_token() -> None:
    assert TOKEN not in repr(Options(token=TOKEN))
